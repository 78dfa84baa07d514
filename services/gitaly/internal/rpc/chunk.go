package rpc

import (
	"google.golang.org/protobuf/proto"

	"gitsplit/proto/go/gitalypb"
)

// chunkSize is how much is collected before a message is sent, well below gRPC's
// limit of 4 MiB.
const chunkSize = 512 << 10

// chunks collects items of a streamed list, messages or byte strings, into messages.
type chunks[T any] struct {
	send  func([]T) error
	items []T
	size  int
}

func (c *chunks[T]) add(item T) error {
	c.items = append(c.items, item)
	if c.size += wireSize(item); c.size < chunkSize {
		return nil
	}
	return c.flush()
}

// wireSize is about what an item takes in a message.
func wireSize(item any) int {
	switch item := item.(type) {
	case proto.Message:
		return proto.Size(item)
	case []byte:
		return len(item)
	}
	return 0
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

// end sends what is left of a listing that ended so, unless it failed.
func (c *chunks[T]) end(err error) error {
	if err != nil {
		return err
	}
	return c.flush()
}

// emptyPage reports whether a caller asks for a page of nothing. Listings of
// references take it so; those of commits give everything then.
func emptyPage(p *gitalypb.PaginationParameter) bool { return p != nil && p.GetLimit() == 0 }

// page reads pagination parameters: no parameters and no limit mean everything.
func page(p interface {
	GetPageToken() string
	GetLimit() int32
}) (token string, limit int) {
	return p.GetPageToken(), max(0, int(p.GetLimit()))
}
