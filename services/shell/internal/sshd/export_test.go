package sshd

import "net"

// ClientOf returns the address that a connection has by the rules of p.
func ClientOf(p *Proxy, nc net.Conn) string {
	conn, err := p.listen(one{nc}).Accept()
	if err != nil {
		return err.Error()
	}
	return conn.RemoteAddr().String()
}

// one is a listener with one connection.
type one struct{ net.Conn }

func (o one) Accept() (net.Conn, error) { return o.Conn, nil }
func (o one) Addr() net.Addr            { return o.LocalAddr() }
