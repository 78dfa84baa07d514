package rpc

import (
	"regexp"
	"strings"

	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/search"
)

// checkSearch checks what both searches have in common.
func checkSearch(query string, revision []byte) error {
	switch {
	case query == "":
		return invalid("no query given")
	case len(revision) == 0:
		return invalid("no ref given")
	case revision[0] == '-':
		return invalid("invalid ref argument")
	}
	return ref.CheckRevision(string(revision))
}

// SearchFilesByContent streams the lines of a revision that match, with their
// surroundings.
func (s Repository) SearchFilesByContent(req *gitalypb.SearchFilesByContentRequest, stream gitalypb.RepositoryService_SearchFilesByContentServer) error {
	repo, err := s.repository(stream.Context(), req.GetRepository())
	if err != nil {
		return err
	}
	if err := checkSearch(req.GetQuery(), req.GetRef()); err != nil {
		return err
	}
	objects, err := object.Open(stream.Context(), s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	return search.Lines(objects, string(req.GetRef()), req.GetQuery(), &matches{stream: stream})
}

// matches collects what is found into messages.
type matches struct {
	stream gitalypb.RepositoryService_SearchFilesByContentServer
	data   []byte
}

func (m *matches) Write(p []byte) (int, error) {
	m.data = append(m.data, p...)
	if len(m.data) < streamio.MaxChunk {
		return len(p), nil
	}
	return len(p), m.flush()
}

func (m *matches) flush() error {
	w := streamio.NewWriter(func(b []byte) error {
		return m.stream.Send(&gitalypb.SearchFilesByContentResponse{MatchData: b})
	})
	_, err := w.Write(m.data)
	m.data = m.data[:0]
	return err
}

// EndOfMatch says that a group is complete.
func (m *matches) EndOfMatch() error {
	if err := m.flush(); err != nil {
		return err
	}
	return m.stream.Send(&gitalypb.SearchFilesByContentResponse{EndOfMatch: true})
}

// SearchFilesByName streams the paths of a revision below a path that pass a filter.
func (s Repository) SearchFilesByName(req *gitalypb.SearchFilesByNameRequest, stream gitalypb.RepositoryService_SearchFilesByNameServer) error {
	repo, err := s.repository(stream.Context(), req.GetRepository())
	if err != nil {
		return err
	}
	if err := checkSearch(req.GetQuery(), req.GetRef()); err != nil {
		return err
	}
	var filter *regexp.Regexp
	if req.GetFilter() != "" {
		if filter, err = search.Compile("filter", req.GetFilter()); err != nil {
			return err
		}
	}
	objects, err := object.Open(stream.Context(), s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	names := search.Names{
		Revision: string(req.GetRef()), Path: strings.TrimSuffix(req.GetQuery(), "/"), Filter: filter,
		Offset: uint64(req.GetOffset()), Limit: uint64(req.GetLimit()),
	}
	var files [][]byte
	size := 0
	send := func() error {
		batch := files
		files, size = nil, 0
		return stream.Send(&gitalypb.SearchFilesByNameResponse{Files: batch})
	}
	err = names.Find(objects, func(path string) error {
		files = append(files, []byte(path))
		if size += len(path); size < chunkSize {
			return nil
		}
		return send()
	})
	if err != nil || len(files) == 0 {
		return err
	}
	return send()
}
