package backchannel_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gitsplit/kit/sidechannel"
)

// The tests below speak the wire of §4.4 with frames of their own making, not with the library.

const (
	typeData, typeWindow = 0, 1
	flagSYN, flagACK     = 1, 2
	flagFIN              = 4
	delta                = 16515072 // 16 MiB - 256 KiB
)

type frame struct {
	kind   byte
	flags  uint16
	stream uint32
	length uint32 // of the payload, or the window delta
}

func (f frame) String() string {
	return fmt.Sprintf("type %d flags %d stream %d length %d", f.kind, f.flags, f.stream, f.length)
}

// wire is one end of a multiplexed connection: it writes frames and splits what comes into streams.
type wire struct {
	t    *testing.T
	conn net.Conn

	mu      sync.Mutex
	changed *sync.Cond
	control []frame // all frames but data, in order; window updates without flags on stream 1 left out
	data    map[uint32]*bytes.Buffer
	ended   bool
}

func newWire(t *testing.T, conn net.Conn) *wire {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, conn: conn, data: map[uint32]*bytes.Buffer{}}
	w.changed = sync.NewCond(&w.mu)
	t.Cleanup(func() { _ = conn.Close() })
	return w
}

func (w *wire) raw(b []byte) {
	w.t.Helper()
	if _, err := w.conn.Write(b); err != nil {
		w.t.Error(err)
	}
}

func (w *wire) send(kind byte, flags uint16, stream, length uint32, payload []byte) {
	w.t.Helper()
	b := []byte{0, kind}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	b = binary.BigEndian.AppendUint32(b, length)
	w.raw(append(b, payload...))
}

func (w *wire) sendData(stream uint32, payload []byte) {
	w.t.Helper()
	w.send(typeData, 0, stream, uint32(len(payload)), payload)
}

// receive sorts incoming frames until the connection ends.
func (w *wire) receive() {
	defer func() {
		w.mu.Lock()
		w.ended = true
		w.changed.Broadcast()
		w.mu.Unlock()
	}()
	for {
		var h [12]byte
		if _, err := io.ReadFull(w.conn, h[:]); err != nil {
			return
		}
		f := frame{h[1], binary.BigEndian.Uint16(h[2:]), binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])}
		var payload []byte
		if f.kind == typeData {
			payload = make([]byte, f.length)
			if _, err := io.ReadFull(w.conn, payload); err != nil {
				return
			}
		}
		w.mu.Lock()
		if f.kind != typeData {
			w.control = append(w.control, f)
		} else {
			w.buffer(f.stream).Write(payload)
		}
		w.changed.Broadcast()
		w.mu.Unlock()
	}
}

func (w *wire) buffer(stream uint32) *bytes.Buffer {
	if w.data[stream] == nil {
		w.data[stream] = &bytes.Buffer{}
	}
	return w.data[stream]
}

// stream reads the data of one stream.
type stream struct {
	w  *wire
	id uint32
}

func (s stream) Read(p []byte) (int, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for s.w.buffer(s.id).Len() == 0 && !s.w.ended {
		s.w.changed.Wait()
	}
	return s.w.buffer(s.id).Read(p)
}

func (s stream) Write(p []byte) (int, error) {
	s.w.sendData(s.id, p)
	return len(p), nil
}

// expect waits for a frame that is no data.
func (w *wire) expect(want frame) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for _, f := range w.control {
			if f == want {
				return
			}
		}
		if w.ended {
			w.t.Errorf("no frame %v; got %v", want, w.control)
			return
		}
		w.changed.Wait()
	}
}

func (w *wire) expectData(id uint32, want string) {
	w.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(stream{w, id}, got); err != nil || string(got) != want {
		w.t.Errorf("stream %d: got %q, want %q: %v", id, got[:n], want, err)
	}
}

func (w *wire) none(flags uint16, id uint32) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.control {
		if f.stream == id && f.flags&flags != 0 {
			w.t.Errorf("unexpected frame %v", f)
		}
	}
}

func grpcMessage(t *testing.T, text string) []byte {
	t.Helper()
	b, err := proto.Marshal(wrapperspb.String(text))
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

func headers(fields ...string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// request sends a gRPC request as HTTP/2 frames; more are further header fields.
func request(t *testing.T, f *http2.Framer, id uint32, sidechannelID string, more ...string) {
	t.Helper()
	h := headers(append([]string{":method", "POST", ":scheme", "http", ":path", method, ":authority", "gitaly",
		"content-type", "application/grpc", "te", "trailers", "gitaly-sidechannel-id", sidechannelID}, more...)...)
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteData(id, true, grpcMessage(t, "in")); err != nil {
		t.Fatal(err)
	}
}

// trailers reads HTTP/2 frames until the end of a request and returns all header fields, both blocks.
func trailers(t *testing.T, f *http2.Framer, id uint32) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for {
		fr, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("read HTTP/2 frame: %v", err)
		}
		if fr.Header().Type == http2.FrameRSTStream && fr.Header().StreamID == id {
			return map[string]string{"grpc-status": "reset"} // how gRPC may end an RPC that is late
		}
		h, ok := fr.(*http2.MetaHeadersFrame)
		if !ok || h.StreamID != id {
			continue
		}
		for _, field := range h.Fields {
			fields[field.Name] = field.Value
		}
		if h.StreamEnded() || fields[":method"] != "" {
			return fields
		}
	}
}

func framer(s stream) *http2.Framer {
	f := http2.NewFramer(s, s)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	return f
}

func TestServer_frames(t *testing.T) {
	t.Parallel()
	w, main := greeted(t, serve(t, plainText(), upper))
	w.expect(frame{typeWindow, flagACK, 1, delta})
	w.none(flagSYN, 2) // the backchannel is opened when used: never

	for n, id := range []uint32{2, 4} {
		h2 := uint32(2*n + 1)
		request(t, main, h2, fmt.Sprint(n))
		w.expect(frame{typeWindow, flagSYN, id, delta})
		w.expectData(id, "sidechannel\x00\x00\x00\x00\x00\x00\x00"+string(byte(n)))
		w.send(typeWindow, flagACK, id, 0, nil)
		for _, packet := range []string{"ok", "0009", "hello", "0000"} {
			w.sendData(id, []byte(packet))
		}
		w.expectData(id, "HELLO")
		w.expect(frame{typeWindow, flagFIN, id, 0})
		if got := trailers(t, main, h2); got["grpc-status"] != "0" {
			t.Errorf("request %d: %v", n, got)
		}
		w.send(typeWindow, flagFIN, id, 0, nil)
	}
}

func TestServer_handshakeErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ answer, want string }{
		"not ok":     {"no", `sidechannel: expected ok, got "no"`},
		"closed":     {"", "sidechannel: receive confirmation: EOF"},
		"header 1":   {"ok0001", "sidechannel: invalid header 1"},
		"no flush":   {"ok0009hello", "unexpected EOF"},
		"cut packet": {"ok00", "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, main := greeted(t, serve(t, plainText(), upper))
			request(t, main, 1, "7")
			w.expectData(2, "sidechannel\x00\x00\x00\x00\x00\x00\x00\x07")
			w.send(typeWindow, flagACK, 2, 0, nil)
			w.sendData(2, []byte(tc.answer))
			w.send(typeWindow, flagFIN, 2, 0, nil)
			if got := trailers(t, main, 1); !strings.HasPrefix(got["grpc-message"], tc.want) {
				t.Errorf("got %v, want %s", got, tc.want)
			}
		})
	}
}

// greeted opens a connection on which gRPC is ready.
func greeted(t *testing.T, addr string) (*wire, *http2.Framer) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(t, conn)
	w.raw([]byte("backchannel"))
	w.send(typeWindow, flagSYN, 1, 0, nil)
	go w.receive()
	main := framer(stream{w, 1})
	w.sendData(1, []byte(http2.ClientPreface))
	if err := main.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return w, main
}

// A client that does not acknowledge a stream blocks its own sidechannels, within their deadlines, until it does.
func TestServer_streamNotAcknowledged(t *testing.T) {
	t.Parallel()
	w, main := greeted(t, serve(t, plainText(), upper))
	for n := range 3 {
		h2 := uint32(2*n + 1)
		request(t, main, h2, "5", "grpc-timeout", "100m")
		if got := trailers(t, main, h2); got["grpc-status"] == "0" || got["grpc-status"] == "" {
			t.Errorf("request %d: %v", n, got)
		}
	}
	w.expectData(2, "sidechannel\x00\x00\x00\x00\x00\x00\x00\x05")
	w.none(flagSYN, 4)
	w.send(typeWindow, flagACK|flagFIN, 2, 0, nil)
	w.expect(frame{typeWindow, flagSYN, 4, delta}) // opened for a request that has given up: closed at once
	w.expect(frame{typeWindow, flagFIN, 4, 0})
	w.send(typeWindow, flagACK|flagFIN, 4, 0, nil)
	request(t, main, 7, "6")
	w.expectData(6, "sidechannel\x00\x00\x00\x00\x00\x00\x00\x06")
	w.send(typeWindow, flagACK, 6, 0, nil)
	w.sendData(6, []byte("ok0006ab0000"))
	w.expectData(6, "AB")
}

// fakeGitaly accepts one connection and plays the older server (eager) or the newer one.
func fakeGitaly(t *testing.T, ln net.Listener, eager bool) {
	conn, err := ln.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	w := newWire(t, conn)
	magic := make([]byte, 11)
	if _, err := io.ReadFull(conn, magic); err != nil || string(magic) != "backchannel" {
		t.Errorf("greeted with %q, %v", magic, err)
		return
	}
	go w.receive()
	w.expect(frame{typeWindow, flagSYN, 1, 0})
	w.send(typeWindow, flagACK, 1, delta, nil)
	w.expectData(1, http2.ClientPreface)
	main := framer(stream{w, 1})
	_ = main.WriteSettings()
	side := uint32(2)
	if eager {
		side = 4
		w.send(typeWindow, flagSYN, 2, delta, nil)
		w.sendData(2, []byte(http2.ClientPreface))
		back := framer(stream{w, 2})
		_ = back.WriteSettings()
		w.expect(frame{typeWindow, flagACK, 2, 0})
		if fr, err := back.ReadFrame(); err != nil || fr.Header().Type != http2.FrameSettings {
			t.Errorf("backchannel: got %v, %v, want SETTINGS", fr, err)
		}
	}
	for n := range 2 {
		h2, id := uint32(2*n+1), side+uint32(2*n)
		if got := trailers(t, main, h2); got[sidechannel.MetadataKey] != fmt.Sprint(n) {
			t.Errorf("request %d: %v", n, got)
		}
		w.send(typeWindow, flagSYN, id, delta, nil)
		w.sendData(id, []byte("sidechannel"))
		w.sendData(id, []byte{0, 0, 0, 0, 0, 0, 0, byte(n)})
		w.expect(frame{typeWindow, flagACK, id, 0})
		w.expectData(id, "ok0009hello0000")
		w.sendData(id, []byte("HELLO"))
		w.send(typeWindow, flagFIN, id, 0, nil)
		_ = main.WriteHeaders(http2.HeadersFrameParam{StreamID: h2, EndHeaders: true,
			BlockFragment: headers(":status", "200", "content-type", "application/grpc")})
		_ = main.WriteData(h2, false, grpcMessage(t, "out"))
		_ = main.WriteHeaders(http2.HeadersFrameParam{StreamID: h2, EndHeaders: true, EndStream: true,
			BlockFragment: headers("grpc-status", "0")})
		w.expect(frame{typeWindow, flagFIN, id, 0})
	}
	// An id that no one waits for: the stream ends before an "ok".
	w.send(typeWindow, flagSYN, 98, delta, nil)
	w.sendData(98, []byte("sidechannel\x00\x00\x00\x00\x00\x00\x00\x63"))
	w.expect(frame{typeWindow, flagFIN, 98, 0})
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.buffer(98).Len(); n != 0 {
		t.Errorf("%d bytes answer an unknown id", n)
	}
}

func TestClient_frames(t *testing.T) {
	t.Parallel()
	for name, eager := range map[string]bool{"lazy backchannel": false, "eager backchannel": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener on loopback
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close() //nolint:errcheck // test
			done := make(chan struct{})
			go func() { defer close(done); fakeGitaly(t, ln, eager) }()
			conn := dial(t, ln.Addr().String(), plainText())
			for n := range 2 {
				var answer string
				out, err := call(t, conn, "in", sidechannel.With(exchange("hello", &answer)))
				if err != nil || out != "out" || answer != "HELLO" {
					t.Errorf("call %d: %q, %v, answer %q", n, out, err, answer)
				}
			}
			<-done
		})
	}
}
