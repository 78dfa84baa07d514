package streamio

import (
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Codec is gRPC's codec for protobuf, which also takes the bytes of NewSender to gRPC, and those of NewReceiver from it,
// without a copy. Messages on the wire are the same: each end may have either codec. A server has it by
// grpc.ForceServerCodecV2, a client's call by grpc.ForceCodecV2. Safe for concurrent use.
type Codec struct{ encoding.CodecV2 }

// NewCodec returns the codec.
func NewCodec() Codec { return Codec{encoding.GetCodecV2(grpcproto.Name)} }

// Name is empty, so that the content type of a call stays the plain "application/grpc" that it is without us.
func (Codec) Name() string { return "" }

// Marshal encodes a message.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	if out, ok := v.(*outgoing); ok {
		return out.marshal(), nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal decodes a message.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if in.take(data) {
		return nil
	}
	m := in.message.New()
	if err := c.CodecV2.Unmarshal(data, m.Interface()); err != nil {
		return err
	}
	in.rest.Reset(mem.BufferSlice{mem.SliceBuffer(m.Get(in.field).Bytes())})
	return nil
}

// incoming is a message of which only one field is read.
type incoming struct {
	message protoreflect.MessageType
	field   protoreflect.FieldDescriptor
	rest    mem.Reader // of the field; holds gRPC's buffers until they are read
}

// maxHead is the most that a tag and a length take.
const maxHead = 2 * 10

// take reads data as it is if that consists of the field and nothing else.
func (in *incoming) take(data mem.BufferSlice) bool {
	var space [maxHead]byte
	head := space[:data.CopyTo(space[:])]
	number, kind, tag := protowire.ConsumeTag(head)
	if tag < 0 || number != in.field.Number() || kind != protowire.BytesType {
		return false
	}
	size, length := protowire.ConsumeVarint(head[tag:])
	if length < 0 || size != uint64(data.Len()-tag-length) { //nolint:gosec // head is part of data
		return false
	}
	in.rest.Reset(data)
	_, _ = in.rest.Discard(tag + length) // which are there
	return true
}

// outgoing is a message of one field, which is not empty. It can be marshalled once: data is gRPC's then, which frees it.
type outgoing struct {
	field protowire.Number
	data  mem.Buffer
}

func (out *outgoing) marshal() mem.BufferSlice {
	head := protowire.AppendTag(make([]byte, 0, maxHead), out.field, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(out.data.Len())) //nolint:gosec // no length is negative
	return mem.BufferSlice{mem.SliceBuffer(head), out.data}
}

// smallPiece is how much a message carries that gets a buffer of its size. gRPC holds back a number of bytes, which may
// be thousands of messages.
const smallPiece = copySize / 4

// pieces is where the buffers of outgoing messages come from, and go to when gRPC has them on the wire. Those that are
// not small are ours, since gRPC's pool would clear a megabyte for each.
type pieces struct{}

// Get returns a buffer of size bytes, copySize at most.
func (pieces) Get(size int) *[]byte {
	if size <= smallPiece {
		return mem.DefaultBufferPool().Get(size)
	}
	b, ok := buffers.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, copySize)
		b = &fresh
	}
	*b = (*b)[:size]
	return b
}

// Put takes a buffer back.
func (pieces) Put(b *[]byte) {
	if cap(*b) == copySize {
		*b = (*b)[:copySize]
		buffers.Put(b)
		return
	}
	mem.DefaultBufferPool().Put(b)
}
