package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestMain runs the probe itself in the processes that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("PROBE_UNDER_TEST") != "" {
		main()
	}
	os.Exit(m.Run())
}

const (
	serverID = "spiffe://b.test/server"
	clientID = "spiffe://a.test/client"
)

func TestFederatedWorkloadsAuthenticateEachOther(t *testing.T) {
	a, b := newAuthority(t, "a.test"), newAuthority(t, "b.test")
	address := startServer(t, newWorkloadAPI(t, b.identity(t, "/server", a)))
	client := newWorkloadAPI(t, a.identity(t, "/client", b))
	code, answer := dialFrom(t, client, address, serverID)
	want := map[string]any{"ok": true, "self": clientID, "server": serverID, "clientSeenByServer": clientID}
	for key, value := range want {
		if answer[key] != value {
			t.Errorf("%s is %v, want %v", key, answer[key], value)
		}
	}
	if _, ok := answer["handshakeMs"].(float64); !ok || code != exitYes {
		t.Errorf("code %d, answer %v", code, answer)
	}
}

func TestDialGivesTheReason(t *testing.T) {
	a, b, c := newAuthority(t, "a.test"), newAuthority(t, "b.test"), newAuthority(t, "c.test")
	rotated := newAuthority(t, "b.test")
	federated := startServer(t, newWorkloadAPI(t, b.identity(t, "/server", a)))
	unfederated := startServer(t, newWorkloadAPI(t, b.identity(t, "/server")))
	choosy := startServer(t, newWorkloadAPI(t, b.identity(t, "/server", a)), "--authorize", "spiffe://a.test/other", "spiffe://a.test/another")
	silent := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	closed := listen(t, nil)

	tests := map[string]struct {
		client  *fakeWorkloadAPI
		address string
		expect  string
		reason  Reason
		text    string
	}{
		"no identity":                          {newWorkloadAPI(t, nil), federated, serverID, NoIdentity, "no identity issued"},
		"no Workload API":                      {&fakeWorkloadAPI{address: "unix:///nonexistent.sock"}, federated, serverID, NoIdentity, "nonexistent"},
		"not federated":                        {newWorkloadAPI(t, a.identity(t, "/client", c)), federated, serverID, NoBundle, "trust domain b.test"},
		"authority of before a rotation":       {newWorkloadAPI(t, a.identity(t, "/client", rotated)), federated, serverID, UnknownAuthority, "unknown authority"},
		"another workload of the trust domain": {newWorkloadAPI(t, a.identity(t, "/client", b)), federated, "spiffe://b.test/other", WrongSPIFFEID, serverID},
		"server is not federated":              {newWorkloadAPI(t, a.identity(t, "/client", b)), unfederated, serverID, RefusedByPeer, "bad certificate"},
		"server wants others":                  {newWorkloadAPI(t, a.identity(t, "/client", b)), choosy, serverID, RefusedByPeer, "bad certificate"},
		"nobody listens":                       {newWorkloadAPI(t, a.identity(t, "/client", b)), closed, serverID, Unreachable, "refused"},
		"server says nothing":                  {newWorkloadAPI(t, a.identity(t, "/client", b)), silent, serverID, Timeout, "handshake"},
		"proxy refuses":                        {newWorkloadAPI(t, a.identity(t, "/client", b)), "unknown.apps.test:443", serverID, Unreachable, "502"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, answer := dialFrom(t, test.client, test.address, test.expect, "HTTPS_PROXY=http://"+startProxy(t, nil))
			if code != exitNo || answer["ok"] != false || answer["reason"] != string(test.reason) {
				t.Fatalf("code %d, answer %v, want reason %s", code, answer, test.reason)
			}
			if text, _ := answer["error"].(string); !strings.Contains(text, test.text) {
				t.Errorf("error %q does not say %q", text, test.text)
			}
		})
	}
}

func TestRefusalIsSeenEveryTime(t *testing.T) {
	a, b := newAuthority(t, "a.test"), newAuthority(t, "b.test")
	address := startServer(t, newWorkloadAPI(t, b.identity(t, "/server")))
	client := newWorkloadAPI(t, a.identity(t, "/client", b))
	for range 20 {
		if _, answer := dialFrom(t, client, address, serverID); answer["reason"] != string(RefusedByPeer) {
			t.Fatalf("answer %v", answer)
		}
	}
}

func TestDialSpeaksWithAnyServer(t *testing.T) {
	a, b := newAuthority(t, "a.test"), newAuthority(t, "b.test")
	client := newWorkloadAPI(t, a.identity(t, "/client", b))
	for name, test := range map[string]struct {
		server *fakeWorkloadAPI
		reason any
	}{
		"that accepts it":       {newWorkloadAPI(t, b.identity(t, "/server", a)), nil},
		"that is not federated": {newWorkloadAPI(t, b.identity(t, "/server")), string(RefusedByPeer)},
		"that is somebody else": {newWorkloadAPI(t, b.identity(t, "/other", a)), string(WrongSPIFFEID)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := startServer(t, test.server)
			_, output := execute(t, start(t, client, "dial", "--any-server", "--address", address, "--expect", serverID))
			var answer map[string]any
			if err := json.Unmarshal(output, &answer); err != nil {
				t.Fatalf("%v in %q", err, output)
			}
			if answer["reason"] != test.reason || answer["ok"] != (test.reason == nil) {
				t.Errorf("answer %v, want reason %v", answer, test.reason)
			}
		})
	}
}

func TestDialGoesThroughTheProxy(t *testing.T) {
	a, b := newAuthority(t, "a.test"), newAuthority(t, "b.test")
	address := startServer(t, newWorkloadAPI(t, b.identity(t, "/server", a)))
	proxy := startProxy(t, map[string]string{"probe.apps.test:443": address})
	client := newWorkloadAPI(t, a.identity(t, "/client", b))
	code, answer := dialFrom(t, client, "probe.apps.test:443", serverID, "HTTPS_PROXY=http://"+proxy)
	if code != exitYes {
		t.Errorf("code %d, answer %v", code, answer)
	}
}

func TestServeListensOnlyWithAnIdentity(t *testing.T) {
	a, b := newAuthority(t, "a.test"), newAuthority(t, "b.test")
	api := newWorkloadAPI(t, nil)
	address := freeAddress(t)
	start(t, api, "serve", "--listen", address)
	time.Sleep(500 * time.Millisecond)
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Fatal("it listens without an identity")
	}
	api.set(b.identity(t, "/server", a))
	awaitListener(t, address)
}

func TestServeFollowsRotation(t *testing.T) {
	a, b, next := newAuthority(t, "a.test"), newAuthority(t, "b.test"), newAuthority(t, "b.test")
	api := newWorkloadAPI(t, b.identity(t, "/server", a))
	address := startServer(t, api)
	client := newWorkloadAPI(t, a.identity(t, "/client", next))
	if _, answer := dialFrom(t, client, address, serverID); answer["reason"] != string(UnknownAuthority) {
		t.Fatalf("before: %v", answer)
	}
	api.set(next.identity(t, "/server", a))
	deadline := time.Now().Add(10 * time.Second)
	for {
		code, answer := dialFrom(t, client, address, serverID)
		if code == exitYes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after: %v", answer)
		}
	}
}

func TestShow(t *testing.T) {
	a, b := newAuthority(t, "a.test"), newAuthority(t, "b.test")
	code, output := execute(t, start(t, newWorkloadAPI(t, a.identity(t, "/client", b)), "show"))
	var shown shownIdentity
	if err := json.Unmarshal(output, &shown); err != nil {
		t.Fatalf("%v in %s", err, output)
	}
	if code != exitYes || shown.SPIFFEID != clientID || time.Until(shown.ExpiresAt) <= 0 || len(shown.Bundles) != 2 {
		t.Errorf("code %d, shown %+v", code, shown)
	}
	if bundle := shown.Bundles[1]; bundle.TrustDomain != "b.test" || len(bundle.SHA256) != 1 || len(bundle.SHA256[0]) != 64 {
		t.Errorf("bundle %+v", bundle)
	}
	if strings.Contains(strings.ToLower(string(output)), "key") {
		t.Errorf("a key is shown: %s", output)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range []string{
		"", "unknown", "dial", "dial --address host --expect spiffe://a/b", "dial --address host:1 --expect a/b",
		"dial --address host:1 --expect spiffe://a/b --timeout soon", "serve extra", "serve --authorize x", "show extra",
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(args), &stdout, &stderr)
		if code != exitUsage || stdout.Len() > 0 || !strings.Contains(stderr.String(), "usage:") {
			t.Errorf("%q: code %d, stdout %q, stderr %q", args, code, &stdout, &stderr)
		}
	}
}

// start runs the probe as a process of its own, with one Workload API and no proxy but those in env.
func start(t *testing.T, api *fakeWorkloadAPI, args ...string) *process {
	t.Helper()
	return startWith(t, api, nil, args...)
}

type process struct {
	command *exec.Cmd
	stdout  bytes.Buffer
}

func startWith(t *testing.T, api *fakeWorkloadAPI, env []string, args ...string) *process {
	t.Helper()
	p := &process{command: exec.CommandContext(t.Context(), os.Args[0], args...)}
	p.command.Env = append([]string{"PROBE_UNDER_TEST=1", "SPIFFE_ENDPOINT_SOCKET=" + api.address}, env...)
	p.command.Stdout = &p.stdout
	p.command.Stderr = t.Output()
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.command.ProcessState == nil {
			_ = p.command.Process.Kill()
			_ = p.command.Wait()
		}
	})
	return p
}

func execute(t *testing.T, p *process) (int, []byte) {
	t.Helper()
	if err := p.command.Wait(); err != nil {
		if _, ok := err.(*exec.ExitError); !ok {
			t.Fatal(err)
		}
	}
	return p.command.ProcessState.ExitCode(), p.stdout.Bytes()
}

// dialFrom runs `probe dial` and reads its one line.
func dialFrom(t *testing.T, api *fakeWorkloadAPI, address, expect string, env ...string) (int, map[string]any) {
	t.Helper()
	code, output := execute(t, startWith(t, api, env, "dial", "--address", address, "--expect", expect, "--timeout", "2s"))
	if bytes.Count(output, []byte("\n")) != 1 {
		t.Fatalf("not one line: %q", output)
	}
	var answer map[string]any
	if err := json.Unmarshal(output, &answer); err != nil {
		t.Fatalf("%v in %q", err, output)
	}
	return code, answer
}

func startServer(t *testing.T, api *fakeWorkloadAPI, args ...string) string {
	t.Helper()
	address := freeAddress(t)
	start(t, api, append([]string{"serve", "--listen", address}, args...)...)
	awaitListener(t, address)
	return address
}

func awaitListener(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// listen handles every connection of a new listener; without a handler, nobody listens at the address.
func listen(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if handle == nil {
		listener.Close()
		return listener.Addr().String()
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	return listen(t, nil)
}

// startProxy starts a CONNECT proxy that knows some hosts.
func startProxy(t *testing.T, hosts map[string]string) string {
	t.Helper()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upstream, err := net.Dial("tcp", hosts[r.Host])
		if r.Method != http.MethodConnect || err != nil {
			http.Error(w, "no such host", http.StatusBadGateway)
			return
		}
		defer upstream.Close()
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		if _, err := io.WriteString(client, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
			return
		}
		go func() { _, _ = io.Copy(upstream, client) }()
		_, _ = io.Copy(client, upstream)
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return listener.Addr().String()
}
