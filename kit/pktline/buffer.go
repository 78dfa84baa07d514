package pktline

import "sync"

// pool keeps packet-sized buffers; what a relay needs is the same for a byte and for a pack of gigabytes.
type pool struct{ p sync.Pool }

// buffers is shared by all packet writers and scanners of the process: a cache, not state.
var buffers pool

func (p *pool) get() *[]byte {
	if b, ok := p.p.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, MaxPacket)
	return &b
}

func (p *pool) put(b *[]byte) { p.p.Put(b) }
