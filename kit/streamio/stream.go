package streamio

import (
	"fmt"
	"io"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// NewReceiver returns a reader of one field of bytes in what comes on a stream: of m's type, and with our Codec. Other
// fields are ignored. The error of the stream, io.EOF at its end, is final. The reader keeps no more than one message;
// nothing needs to be closed. Not for concurrent use.
func NewReceiver(stream interface{ RecvMsg(m any) error }, m proto.Message, field protoreflect.Name) io.Reader {
	return &receiver{stream: stream, in: incoming{message: m.ProtoReflect().Type(), field: bytesField(m, field)}}
}

type receiver struct {
	stream interface{ RecvMsg(m any) error }
	in     incoming
	err    error
}

func (r *receiver) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.in.rest.Remaining() == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.err = r.stream.RecvMsg(&r.in)
	}
	return r.in.rest.Read(p)
}

// NewSender returns a writer that sends messages with nothing but one field of bytes: of m's type, with our Codec, and
// at most 64 KiB each. Not for concurrent use: neither are gRPC streams.
func NewSender(stream interface{ SendMsg(m any) error }, m proto.Message, field protoreflect.Name) io.Writer {
	return &sender{stream: stream, field: bytesField(m, field)}
}

type sender struct {
	stream interface{ SendMsg(m any) error }
	field  protoreflect.FieldDescriptor
}

// Write copies p: gRPC keeps what it is given until that is on the wire.
func (s *sender) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n := min(len(p)-sent, copySize)
		if err := s.send(mem.Copy(p[sent:sent+n], pieces{})); err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// ReadFrom sends what src gives, as it comes; io.Copy uses it.
func (s *sender) ReadFrom(src io.Reader) (int64, error) {
	var total int64
	b := pieces{}.Get(copySize)
	defer func() { pieces{}.Put(b) }()
	for {
		n, err := src.Read(*b)
		if n > 0 {
			var data mem.Buffer
			data, b = cut(b, n)
			if err := s.send(data); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// cut makes the first n bytes of b the data of a message, and returns the buffer for what comes next.
func cut(b *[]byte, n int) (data mem.Buffer, next *[]byte) {
	if n <= smallPiece {
		return mem.Copy((*b)[:n], pieces{}), b
	}
	*b = (*b)[:n]
	return mem.NewBuffer(b, pieces{}), pieces{}.Get(copySize)
}

// send gives data away, also when it fails.
func (s *sender) send(data mem.Buffer) error {
	return s.stream.SendMsg(&outgoing{field: s.field.Number(), data: data})
}

func bytesField(m proto.Message, name protoreflect.Name) protoreflect.FieldDescriptor {
	d := m.ProtoReflect().Descriptor()
	f := d.Fields().ByName(name)
	if f == nil || f.Kind() != protoreflect.BytesKind || f.IsList() {
		panic(fmt.Sprintf("streamio: %s has no bytes %q", d.FullName(), name))
	}
	return f
}
