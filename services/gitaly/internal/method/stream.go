package method

import "google.golang.org/grpc"

// First returns the stream with take called on its first message, before the handler
// has it: a stream names its repository there. An error of take ends the receiving.
func First(stream grpc.ServerStream, take func(req any) error) grpc.ServerStream {
	return &first{ServerStream: stream, take: take}
}

type first struct {
	grpc.ServerStream
	take func(req any) error // nil once it was called
}

// RecvMsg hands over the first message.
func (f *first) RecvMsg(m any) error {
	if err := f.ServerStream.RecvMsg(m); err != nil || f.take == nil {
		return err
	}
	take := f.take
	f.take = nil
	return take(m)
}
