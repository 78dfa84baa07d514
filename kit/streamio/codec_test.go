package streamio_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
)

const pieceSize = 64 << 10

// fakeStream encodes what is sent, and decodes messages for who receives. In between, buffers are overwritten as soon
// as they are free.
type fakeStream struct {
	t        *testing.T
	messages [][]byte
	cut      int // how long buffers are; 0 for one
}

func (s *fakeStream) SendMsg(m any) error {
	b, err := streamio.NewCodec().Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	s.messages = append(s.messages, b.Materialize())
	b.Free()
	return nil
}

func (s *fakeStream) RecvMsg(m any) error {
	if len(s.messages) == 0 {
		return io.EOF
	}
	var data mem.BufferSlice
	for rest := bytes.Clone(s.messages[0]); len(rest) > 0; {
		n := len(rest)
		if s.cut > 0 {
			n = min(n, s.cut)
		}
		data = append(data, shortLived(rest[:n]))
		rest = rest[n:]
	}
	s.messages = s.messages[1:]
	defer data.Free()
	return streamio.NewCodec().Unmarshal(data, m)
}

// shortLived returns a buffer that is overwritten when it is free. It has room: gRPC does not count small ones.
func shortLived(b []byte) mem.Buffer {
	data := append(make([]byte, 0, 2000+len(b)), b...)
	return mem.NewBuffer(&data, shredder{})
}

type shredder struct{ mem.NopBufferPool }

func (shredder) Put(b *[]byte) {
	for i := range *b {
		(*b)[i] = '#'
	}
}

// numbered is n bytes in which a piece that is lost or comes twice shows.
func numbered(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16) ^ seed
	}
	return b
}

// TestSender_wire: the messages are those of protobuf, whatever way the bytes came.
func TestSender_wire(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 127, 128, 1024, 1025, 16383, 16384, 16385, pieceSize - 1, pieceSize, pieceSize + 1, 3*pieceSize + 7} {
		data := numbered(size, 0)
		var want [][]byte
		for rest := data; len(rest) > 0; {
			n := min(len(rest), pieceSize)
			m, err := proto.Marshal(&gitalypb.SSHReceivePackRequest{Stdin: rest[:n]})
			if err != nil {
				t.Fatal(err)
			}
			want, rest = append(want, m), rest[n:]
		}
		for name, write := range map[string]func(w io.Writer) (int64, error){
			"write": func(w io.Writer) (int64, error) { n, err := w.Write(data); return int64(n), err },
			"copy":  func(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{bytes.NewReader(data)}) },
		} {
			s := &fakeStream{t: t}
			n, err := write(streamio.NewSender(s, (*gitalypb.SSHReceivePackRequest)(nil), "stdin"))
			if n != int64(size) || err != nil || !equal(s.messages, want) {
				t.Errorf("%s of %d bytes: %d in %d messages, %v", name, size, n, len(s.messages), err)
			}
		}
	}
}

func equal(a, b [][]byte) bool {
	return bytes.Equal(bytes.Join(a, nil), bytes.Join(b, nil)) && len(a) == len(b)
}

// TestSender_small: messages that gRPC keeps take about as much memory as they carry.
func TestSender_small(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(w io.Writer, p []byte) error{
		"write": func(w io.Writer, p []byte) error { _, err := w.Write(p); return err },
		"copy": func(w io.Writer, p []byte) error {
			_, err := io.Copy(w, struct{ io.Reader }{bytes.NewReader(p)})
			return err
		},
	} {
		for _, size := range []int{1, 100, 5000, 20000} {
			var kept keeper
			w := streamio.NewSender(&kept, (*gitalypb.PostReceivePackRequest)(nil), "data")
			for range 100 {
				if err := write(w, make([]byte, size)); err != nil {
					t.Fatal(err)
				}
			}
			room := 0
			for _, b := range kept {
				room += cap(b.ReadOnlyData())
			}
			if most := 100 * max(4*size, 256); room > most {
				t.Errorf("%s: 100 messages of %d bytes keep %d", name, size, room)
			}
		}
	}
}

// keeper is a stream that sends nothing.
type keeper mem.BufferSlice

func (k *keeper) SendMsg(m any) error {
	b, err := streamio.NewCodec().Marshal(m)
	*k = append(*k, b...)
	return err
}

type broken struct{ error }

func (b broken) SendMsg(any) error { return b.error }
func (b broken) RecvMsg(any) error { return b.error }

func TestSender_errors(t *testing.T) {
	t.Parallel()
	w := streamio.NewSender(broken{io.EOF}, (*gitalypb.PostReceivePackRequest)(nil), "data")
	if n, err := w.Write([]byte("x")); n != 0 || err != io.EOF { //nolint:errorlint // gRPC's very value
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := io.Copy(w, strings.NewReader("x")); n != 0 || err != io.EOF { //nolint:errorlint // gRPC's very value
		t.Errorf("copy: %d, %v", n, err)
	}
	s := &fakeStream{t: t}
	w = streamio.NewSender(s, (*gitalypb.PostReceivePackRequest)(nil), "data")
	n, err := io.Copy(w, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrNoProgress)))
	if n != 1 || err != io.ErrNoProgress || len(s.messages) != 1 { //nolint:errorlint // src's very value
		t.Errorf("copy from a broken reader: %d in %d messages, %v", n, len(s.messages), err)
	}
}

func TestReceiver(t *testing.T) {
	t.Parallel()
	for _, cut := range []int{0, 1, 2, 3, 1000, 16384} {
		data := numbered(3*pieceSize/2, 0)
		s := &fakeStream{t: t, cut: cut}
		w := streamio.NewSender(s, (*gitalypb.PostReceivePackRequest)(nil), "data")
		for _, end := range []int{1, 10, 2000, len(data)} {
			if _, err := w.Write(data[s.sent():end]); err != nil {
				t.Fatal(err)
			}
			s.messages = append(s.messages, nil) // an empty message between
		}
		if err := iotest.TestReader(streamio.NewReceiver(s, (*gitalypb.PostReceivePackRequest)(nil), "data"), data); err != nil {
			t.Errorf("buffers of %d: %v", cut, err)
		}
	}
}

// sent is how many bytes the messages carry.
func (s *fakeStream) sent() (n int) {
	for _, m := range s.messages {
		var req gitalypb.PostReceivePackRequest
		if err := proto.Unmarshal(m, &req); err != nil {
			s.t.Fatal(err)
		}
		n += len(req.GetData())
	}
	return n
}

func TestReceiver_errors(t *testing.T) {
	t.Parallel()
	r := streamio.NewReceiver(broken{io.ErrNoProgress}, (*gitalypb.PostReceivePackRequest)(nil), "data")
	for range 2 {
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.ErrNoProgress { //nolint:errorlint // the stream's very value
			t.Errorf("read %d, %v", n, err)
		}
	}
}

func TestField(t *testing.T) {
	t.Parallel()
	for _, name := range []protoreflect.Name{"data", "gl_id", "repository", "git_config_options"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was taken for bytes", name)
				}
			}()
			streamio.NewReceiver(broken{}, (*gitalypb.SSHReceivePackRequest)(nil), name)
		}()
	}
}

// FuzzReceiver receives any message, in buffers of any length, after one that went the fast way: it gives what protobuf
// finds in it, or fails as that does.
func FuzzReceiver(f *testing.F) {
	const stdin = 2
	field := func(b []byte, data string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, stdin, protowire.BytesType), data)
	}
	whole, err := proto.Marshal(&gitalypb.SSHReceivePackRequest{
		Repository: &gitalypb.Repository{StorageName: "default"}, Stdin: []byte("in"), GlId: "key-1", GitConfigOptions: []string{"a=b"},
	})
	if err != nil {
		f.Fatal(err)
	}
	one := field(nil, "pack")
	for _, seed := range [][]byte{
		nil, one, field(one, "again"), field(nil, ""), field(nil, strings.Repeat("x", 300)), whole, append(whole, one...),
		protowire.AppendVarint(protowire.AppendTag(one, 999, protowire.VarintType), 7), // unknown, behind
		append(protowire.AppendVarint(protowire.AppendTag(nil, 999, protowire.VarintType), 7), one...),
		protowire.AppendVarint(protowire.AppendTag(nil, stdin, protowire.VarintType), 7), // not its type
		one[:3], append(one, 0), one[:1], {0x12}, {0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		{0x92, 0x00, 0x81, 0x80, 0x00, 'x'}, // longer than needed
		{0x13, 0x14}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x0a, 0x01, 'x'},
	} {
		f.Add(seed, 0)
		f.Add(seed, 1)
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, message []byte, cut int) {
		var want gitalypb.SSHReceivePackRequest
		wantErr := proto.Unmarshal(message, &want)
		s := &fakeStream{t: t, messages: [][]byte{field(nil, "the message before"), message}, cut: max(cut, 0)}
		got, err := io.ReadAll(streamio.NewReceiver(s, &want, "stdin"))
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, want %v", err, wantErr)
		}
		if err == nil && string(got) != "the message before"+string(want.GetStdin()) {
			t.Errorf("got %q, want %q", got, want.GetStdin())
		}
	})
}

// TestCodec_others: all other messages are gRPC's codec's.
func TestCodec_others(t *testing.T) {
	t.Parallel()
	want := &gitalypb.SSHReceivePackRequest{GlId: "key-1", Stdin: []byte("in")}
	c := streamio.NewCodec()
	data, err := c.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got gitalypb.SSHReceivePackRequest
	if err := c.Unmarshal(data, &got); err != nil || !proto.Equal(&got, want) {
		t.Errorf("got %v, %v", &got, err)
	}
	if _, err := c.Marshal("text"); err == nil {
		t.Error("a string was marshalled")
	}
	if c.Name() != "" {
		t.Errorf("name %q", c.Name())
	}
}
