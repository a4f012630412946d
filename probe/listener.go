package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	handshakeTimeout = 10 * time.Second
	refusalLinger    = 2 * time.Second
)

// mtlsListener hands out connections whose handshake is done. net/http would do that too, but closes a refused connection
// at once; what the client has sent by then makes that a TCP reset, which can overtake the alert that says why.
type mtlsListener struct {
	net.Listener
	config   *tls.Config
	logs     *log.Logger
	accepted chan net.Conn
	ended    chan struct{}
	failure  error
	closing  sync.Once
	done     chan struct{}
}

func newMTLSListener(listener net.Listener, config *tls.Config, logs *log.Logger) *mtlsListener {
	l := &mtlsListener{
		Listener: listener,
		config:   config,
		logs:     logs,
		accepted: make(chan net.Conn),
		ended:    make(chan struct{}),
		done:     make(chan struct{}),
	}
	go l.acceptAll()
	return l
}

func (l *mtlsListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.ended:
		return nil, l.failure
	}
}

func (l *mtlsListener) Close() error {
	l.closing.Do(func() { close(l.done) })
	return l.Listener.Close()
}

func (l *mtlsListener) acceptAll() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.failure = err
			close(l.ended)
			return
		}
		go l.authenticate(conn)
	}
}

func (l *mtlsListener) authenticate(raw net.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	conn := tls.Server(raw, l.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		// A readiness probe connects, says nothing and goes.
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			l.logs.Printf("refused %s: %v", raw.RemoteAddr(), err)
		}
		linger(raw)
		return
	}
	select {
	case l.accepted <- conn:
	case <-l.done:
		conn.Close()
	}
}

// linger ends a connection such that the client gets everything that was sent to it.
func linger(conn net.Conn) {
	defer conn.Close()
	half, ok := conn.(*net.TCPConn)
	if !ok || half.CloseWrite() != nil || half.SetReadDeadline(time.Now().Add(refusalLinger)) != nil {
		return
	}
	// How the client ends its side makes no difference any more.
	_, _ = io.Copy(io.Discard, half)
}
