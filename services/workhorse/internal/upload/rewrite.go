package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gitsplit/services/workhorse/internal/store"
)

// What a form may have. The files themselves are bounded by rails-api.
const (
	maxFiles  = 10
	maxParts  = 1000
	maxForm   = 1 << 20  // bytes of everything that is no file
	maxHeader = 64 << 10 // bytes of one part's header
	maxName   = 1000     // bytes of the name of a field or file
)

// rewriter makes a form without files out of one with files. Every file is stored
// as it comes, and its signed fields stand in its place.
type rewriter struct {
	save func(ctx context.Context, name string, part io.Reader) (*store.File, error)
	sign func(*store.File) (map[string]string, error)

	files  map[string]*store.File // by field
	fields map[string]bool        // the names that were written
	out    bytes.Buffer
	w      *multipart.Writer
}

// discard removes the files that are still there.
func (f *rewriter) discard() {
	for _, file := range f.files {
		file.Discard()
	}
}

func (f *rewriter) contentType() string { return f.w.FormDataContentType() }
func (f *rewriter) body() []byte        { return f.out.Bytes() }

// rewrite reads the form to its end.
func (f *rewriter) rewrite(ctx context.Context, body io.Reader, boundary string) error {
	f.files, f.fields, f.w = map[string]*store.File{}, map[string]bool{}, multipart.NewWriter(&f.out)
	src := &partSource{r: body}
	parts := multipart.NewReader(src, boundary)
	for n := 0; ; n++ {
		src.bound(maxHeader)
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return f.w.Close()
		}
		if err != nil {
			return reading(src, err)
		}
		if n == maxParts {
			return bad(fmt.Sprintf("upload request contains more than %d parts", maxParts), nil)
		}
		src.bound(-1)
		if err := f.part(ctx, part, src); err != nil {
			return err
		}
		if f.out.Len() > maxForm {
			return fmt.Errorf("the form without its files: %w", store.ErrTooLarge)
		}
	}
}

func (f *rewriter) part(ctx context.Context, part *multipart.Part, src *partSource) error {
	name, filename := part.FormName(), part.FileName()
	switch {
	case name == "": // nobody could ask for it
		_, err := io.Copy(io.Discard, part)
		if err != nil {
			return reading(src, err)
		}
		return nil
	case !validName(name):
		return bad("the form has a field with a bad name", nil)
	case filename == "":
		return f.field(name, part, src)
	}
	return f.file(ctx, name, filename, part)
}

// field copies a plain field.
func (f *rewriter) field(name string, part io.Reader, src *partSource) error {
	if f.isWritten(name) {
		return bad("a field has the name of one that belongs to a file", nil)
	}
	room := int64(maxForm - f.out.Len())
	value, err := io.ReadAll(io.LimitReader(part, room+1))
	if err != nil {
		return reading(src, err)
	}
	if int64(len(value)) > room {
		return fmt.Errorf("the form without its files: %w", store.ErrTooLarge)
	}
	f.fields[name] = true
	return f.write(name, value)
}

// isWritten reports whether the name belongs to the fields of a file.
func (f *rewriter) isWritten(name string) bool {
	for file := range f.files {
		if name == file || strings.HasPrefix(name, file+".") {
			return true
		}
	}
	return false
}

// file stores a file and writes its fields.
func (f *rewriter) file(ctx context.Context, name, filename string, part io.Reader) error {
	if len(f.files) == maxFiles {
		return bad(fmt.Sprintf("upload request contains more than %d files", maxFiles), nil)
	}
	if !validFileField(name) || f.isWritten(name) {
		return bad("a file has a bad field name, or that of another", nil)
	}
	for field := range f.fields {
		if field == name || strings.HasPrefix(field, name+".") {
			return bad("a field has the name of one that belongs to a file", nil)
		}
	}
	filename, ok := baseName(filename)
	if !ok {
		return bad("a file has a bad name", nil)
	}
	stored, err := f.save(ctx, filename, part)
	if err != nil {
		return err
	}
	f.files[name] = stored
	fields, err := f.sign(stored)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if err := f.write(name+"."+key, []byte(fields[key])); err != nil {
			return err
		}
	}
	return nil
}

func (f *rewriter) write(name string, value []byte) error {
	disposition := mime.FormatMediaType("form-data", map[string]string{"name": name})
	w, err := f.w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}})
	if err == nil {
		_, err = w.Write(value)
	}
	return err
}

// validName admits what every reader of the new form reads alike.
func validName(name string) bool {
	return len(name) <= maxName && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// validFileField is stricter: a file belongs to one field, which may be nested, as
// user[avatar], but is no list (wire/workhorse.md §6.4).
func validFileField(name string) bool {
	return !strings.HasPrefix(name, "[") && !strings.Contains(name, "[]")
}

// baseName returns the last part of a file name in the notation of any system.
func baseName(name string) (string, bool) {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	return name, name != "" && name != "." && name != ".." && len(name) <= maxName
}

// partSource is the request body. Between parts it bounds what is read: the
// headers of a part, and what stands before the first, are kept in memory. Its end
// is an error, after a line break that the last boundary may lack: package
// multipart takes an end inside a header for the end of the form.
type partSource struct {
	r    io.Reader
	left int   // bytes; negative is no bound
	err  error // of the body, sticky
}

var errLongHeader = errors.New("the form has a part with too long a header")

// bound lets n more bytes through, any number if n is negative.
func (s *partSource) bound(n int) { s.left = n }

func (s *partSource) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, errLongHeader
	}
	if s.left > 0 && len(p) > s.left {
		p = p[:s.left]
	}
	n, err := s.r.Read(p)
	if s.left > 0 {
		s.left -= n
	}
	if err == nil {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		s.r, err = strings.NewReader("\r\n"), nil
		if s.err != nil { // that was read too
			err = io.ErrUnexpectedEOF
		}
		s.err = io.EOF
		return n, err
	}
	s.err = err
	return n, err
}
