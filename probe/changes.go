package main

import (
	"bytes"
	"io"
	"sync"
)

// changes passes a line on only if it differs from the one before: the same thing happens at every retry.
type changes struct {
	out  io.Writer
	mu   sync.Mutex
	last []byte
}

func (c *changes) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if bytes.Equal(line, c.last) {
		return len(line), nil
	}
	c.last = bytes.Clone(line)
	return c.out.Write(line)
}
