package rpc

import (
	"google.golang.org/protobuf/proto"
)

// chunkSize is how much is collected before a message is sent, well below gRPC's
// limit of 4 MiB.
const chunkSize = 512 << 10

// chunks collects items of a streamed list into messages.
type chunks[T proto.Message] struct {
	send  func([]T) error
	items []T
	size  int
}

func (c *chunks[T]) add(item T) error {
	c.items = append(c.items, item)
	if c.size += proto.Size(item); c.size < chunkSize {
		return nil
	}
	return c.flush()
}

// flush sends what is left; a list without items sends nothing.
func (c *chunks[T]) flush() error {
	if len(c.items) == 0 {
		return nil
	}
	items := c.items
	c.items, c.size = nil, 0
	return c.send(items)
}

// page reads pagination parameters: no parameters and no limit mean everything.
func page(p interface {
	GetPageToken() string
	GetLimit() int32
}) (token string, limit int) {
	return p.GetPageToken(), max(0, int(p.GetLimit()))
}
