package uploaded

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gitsplit/kit/apijwt"
	"gitsplit/kit/errs"
)

// maxForm bounds a form, in which no file is any more.
const maxForm = 2 << 20

// maxFiles bounds the files of one request (wire/workhorse.md §6.4).
const maxFiles = 10

// maxDuration is longer than any upload takes.
const maxDuration = 7 * 24 * time.Hour

// bodyField is the name of an upload that is a whole request body.
const bodyField = "file"

// Form is a form whose files workhorse has stored.
type Form struct {
	Values url.Values      // of the plain fields, query excluded
	Files  map[string]File // by the name of their field
}

// Body returns the file that was a whole request body. Errors are those of Form.
func (v *Receiver) Body(r *http.Request) (File, error) {
	form, err := v.Form(r)
	if err != nil {
		return File{}, err
	}
	file, ok := form.Files[bodyField]
	if !ok {
		return file, errs.New(errs.Invalid, "the file is missing")
	}
	return file, nil
}

// Form reads the fields of a request and its files. It is errs.Denied when the
// request does not come from workhorse, and errs.Invalid when what it says about
// a file is not signed or cannot be.
func (v *Receiver) Form(r *http.Request) (Form, error) {
	if err := v.Asked(r); err != nil {
		return Form{}, err
	}
	values, err := readForm(r)
	if err != nil {
		return Form{}, errs.Wrap(errs.Invalid, "the form is malformed", err)
	}
	form := Form{Values: values, Files: map[string]File{}}
	token := r.Header.Get(apijwt.FieldsHeader)
	if token == "" {
		return form, nil
	}
	written, err := apijwt.VerifyFields(v.secrets, token)
	if err == nil && len(written) > maxFiles {
		err = fmt.Errorf("%d files", len(written))
	}
	if err != nil {
		return Form{}, errs.Wrap(errs.Invalid, "the list of files is not signed", err)
	}
	for name, path := range written {
		file, err := v.file(values, name, path)
		if err != nil {
			return Form{}, errs.Wrap(errs.Invalid, "a file is not signed", fmt.Errorf("field %q: %w", name, err))
		}
		form.Files[name] = file
	}
	for name := range form.Files {
		for field := range values {
			if strings.HasPrefix(field, name+".") {
				delete(values, field)
			}
		}
	}
	return form, nil
}

// readForm reads the body. Workhorse has replaced what can be large in it.
func readForm(r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	err := r.ParseMultipartForm(maxForm) //nolint:gosec // bounded above
	if errors.Is(err, http.ErrNotMultipart) {
		err = r.ParseForm()
	}
	if err != nil {
		return nil, err
	}
	if r.MultipartForm != nil && len(r.MultipartForm.File) > 0 {
		return nil, errors.Join(errors.New("a file came past workhorse"), r.MultipartForm.RemoveAll())
	}
	return r.PostForm, nil
}

// file reads the signed fields of one file and checks them.
func (v *Receiver) file(values url.Values, name, path string) (File, error) {
	tokens := values[name+"."+apijwt.UploadField]
	if len(tokens) != 1 {
		return File{}, fmt.Errorf("%d tokens", len(tokens))
	}
	fields, err := apijwt.VerifyUpload(v.secrets, tokens[0])
	if err != nil {
		return File{}, err
	}
	f := File{Name: fields["name"], Path: fields["path"], RemoteID: fields["remote_id"], Sums: map[string]string{}}
	for _, function := range []string{"md5", "sha1", "sha256", "sha512"} {
		if sum := fields[function]; sum != "" {
			f.Sums[function] = sum
		}
	}
	if f.Size, err = strconv.ParseInt(fields["size"], 10, 64); err != nil || f.Size < 0 {
		return File{}, fmt.Errorf("size %q", fields["size"])
	}
	seconds, err := strconv.ParseFloat(fields["upload_duration"], 64)
	if err != nil || !(0 <= seconds && seconds <= maxDuration.Seconds()) {
		return File{}, fmt.Errorf("duration %q", fields["upload_duration"])
	}
	f.Duration = time.Duration(seconds * float64(time.Second))
	switch {
	case f.Path != path:
		return File{}, errors.New("the two tokens name two files")
	case (f.Path == "") == (f.RemoteID == ""):
		return File{}, errors.New("no place, or two")
	case f.Path != "":
		return f, v.checkPath(f)
	}
	return f, nil
}

// checkPath admits a regular file of the right size directly in one of the roots.
func (v *Receiver) checkPath(f File) error {
	if !slices.Contains(v.roots, filepath.Dir(f.Path)) || filepath.Clean(f.Path) != f.Path {
		return fmt.Errorf("path %q is in no directory of uploads", f.Path)
	}
	info, err := os.Lstat(f.Path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != f.Size {
		return fmt.Errorf("%s of %d bytes instead of a file of %d", info.Mode(), info.Size(), f.Size)
	}
	return nil
}
