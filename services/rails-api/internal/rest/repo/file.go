package repo

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
)

// File is a file at a commit, whose content is read piece by piece. The context it was opened with bounds its life.
type File struct {
	ID         string
	Size       int64
	Executable bool
	first      []byte
	stream     grpc.ServerStreamingClient[gitalypb.TreeEntryResponse]
}

// File opens a file. What is absent or no file is errs.NotFound. The caller cancels ctx when done, read to the end or not.
func (r *Repo) File(ctx context.Context, commit, path string) (*File, error) {
	stream, err := r.commits.TreeEntry(ctx, &gitalypb.TreeEntryRequest{Repository: r.repository, Revision: []byte(commit), Path: []byte(path)})
	if err != nil {
		return nil, remote(err)
	}
	head, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, errs.New(errs.NotFound, "no such file")
	}
	if err != nil {
		return nil, remote(err)
	}
	if head.GetOid() == "" || head.GetType() != gitalypb.TreeEntryResponse_BLOB {
		return nil, errs.New(errs.NotFound, "no such file")
	}
	return &File{ID: head.GetOid(), Size: head.GetSize(), Executable: head.GetMode()&0o111 != 0, first: head.GetData(), stream: stream}, nil
}

// WriteTo sends the content on, in the chunks that gitaly sends.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	var sent int64
	for chunk := f.first; ; {
		n, err := w.Write(chunk)
		sent += int64(n)
		if err != nil {
			return sent, err
		}
		msg, err := f.stream.Recv()
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, remote(err)
		}
		chunk = msg.GetData()
	}
}
