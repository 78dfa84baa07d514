package lfshttp

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/lfs"
)

// maxObjects is how many objects one batch names (security-baseline §12). git-lfs
// asks for no more by itself.
const maxObjects = 100

type batchRequest struct {
	Operation string   `json:"operation"` // download or upload
	Transfers []string `json:"transfers"`
	HashAlgo  string   `json:"hash_algo"`
	Objects   []object `json:"objects"`
}

// object is echoed, with what to do or why not.
type object struct {
	OID           string            `json:"oid"`
	Size          int64             `json:"size"`
	Authenticated bool              `json:"authenticated,omitempty"`
	Actions       map[string]action `json:"actions,omitempty"`
	Error         *objectError      `json:"error,omitempty"`
}

type action struct {
	Href      string            `json:"href"`
	Header    map[string]string `json:"header,omitempty"`
	ExpiresIn int64             `json:"expires_in,omitempty"` // seconds
}

type objectError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type batchAnswer struct {
	Objects []object `json:"objects"`
}

// batch tells a client how to transfer objects.
func (a *api) batch(w http.ResponseWriter, r *http.Request, path, _ string) error {
	in, err := decode[batchRequest](r)
	if err != nil {
		return err
	}
	upload := in.Operation == "upload"
	c, err := a.admit(r, path, map[bool]string{true: access.ReceivePack, false: access.UploadPack}[upload], a.Now())
	if err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	oids := make([]string, len(in.Objects))
	for i, o := range in.Objects {
		oids[i] = o.OID
	}
	oids = slices.DeleteFunc(oids, func(id string) bool { return !lfs.ValidOID(id) })
	have, err := a.files.Linked(r.Context(), c.Project.ID, oids)
	if err == nil && upload {
		have, err = a.Access.ShareLFS(r.Context(), c.User, c.Project, oids, have)
	}
	if err != nil {
		return err
	}
	next := a.downloads
	if upload {
		next = a.uploads
	}
	list, err := next(r, c, in.Objects, have)
	if err != nil {
		return err
	}
	a.write(w, r, http.StatusOK, batchAnswer{Objects: list})
	return nil
}

func (in batchRequest) check() error {
	switch {
	case in.Operation != "upload" && in.Operation != "download":
		return errs.New(errs.Invalid, "The operation is neither download nor upload.")
	case in.HashAlgo != "" && in.HashAlgo != "sha256":
		return answered{status: http.StatusConflict, text: "The hash algorithm is not supported: use sha256."}
	case len(in.Transfers) > 0 && !slices.Contains(in.Transfers, "basic"):
		return errs.New(errs.Invalid, "None of the transfer adapters is supported: use basic.")
	case len(in.Objects) == 0:
		return answered{status: http.StatusNotFound, text: notFound}
	case len(in.Objects) > maxObjects:
		return answered{status: http.StatusRequestEntityTooLarge, text: fmt.Sprintf("More than %d objects are too many for one request.", maxObjects)}
	}
	return nil
}

// downloads leads to the objects that the project has.
func (a *api) downloads(r *http.Request, c caller, list []object, have map[string]lfs.Object) ([]object, error) {
	authorization, seconds, err := a.transfer(c)
	if err != nil {
		return nil, err
	}
	header := map[string]string{}
	if authorization != "" {
		header["Authorization"] = authorization
	}
	public := a.Access.Can(r.Context(), nil, access.DownloadCode, c.Project) == nil
	out := make([]object, len(list))
	for i, o := range list {
		out[i] = object{OID: o.OID, Size: o.Size}
		if _, ok := have[o.OID]; !ok {
			out[i].Error = &objectError{http.StatusNotFound, "Object does not exist on the server or you don't have permissions to access it"}
			continue
		}
		out[i].Authenticated = public
		out[i].Actions = map[string]action{"download": {Href: a.href(c, o.OID), Header: header, ExpiresIn: seconds}}
	}
	return out, nil
}

// uploads asks for every object that the project does not have, also for those
// that others have, but for the source of a fork: to know an id is not to have the
// content.
func (a *api) uploads(_ *http.Request, c caller, list []object, have map[string]lfs.Object) ([]object, error) {
	authorization, seconds, err := a.transfer(c)
	if err != nil {
		return nil, err
	}
	// Chunked: the client need not know the length before it begins (wire/workhorse.md §11).
	header := map[string]string{"Authorization": authorization, "Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
	out := make([]object, len(list))
	for i, o := range list {
		out[i] = object{OID: o.OID, Size: o.Size}
		stored, ok := have[o.OID]
		switch {
		case !lfs.ValidOID(o.OID) || o.Size < 0 || o.Size > maxSize:
			out[i].Error = &objectError{http.StatusUnprocessableEntity, "The id or the size of the object is invalid"}
		case !ok || stored.Size != o.Size:
			href := a.href(c, o.OID) + "/" + strconv.FormatInt(o.Size, 10)
			out[i].Actions = map[string]action{"upload": {Href: href, Header: header, ExpiresIn: seconds}}
		}
	}
	return out, nil
}

func (a *api) href(c caller, oid string) string {
	return a.Site.HTTPClone(c.Project.FullPath) + "/gitlab-lfs/objects/" + oid
}
