package store

import (
	"errors"
	"fmt"
	"time"
)

// Destination says where an upload goes and how large it may be. It is the part
// of rails-api's permission that is about uploads (wire/workhorse.md §2.3, §6.6).
type Destination struct {
	// TempPath is the directory for a file on disk; it wins over RemoteObject.
	TempPath string
	// LocalTempPath is for what must wait on disk on its way to object storage; ""
	// is the store's own.
	LocalTempPath string
	// RemoteObject is the place in object storage.
	RemoteObject RemoteObject
	// MaximumSize in bytes; 0 is no limit.
	MaximumSize int64
	// UploadHashFunctions are the sums that rails-api wants; none named is all four.
	UploadHashFunctions []string
}

// RemoteObject is a place in object storage behind signed addresses. Workhorse
// needs no credentials for it; UseWorkhorseClient and ObjectStorage, by which
// rails-api may offer credentials instead, are not read, since the signed
// addresses always come with them.
type RemoteObject struct {
	ID         string // names the object to rails-api
	GetURL     string
	StoreURL   string // takes the whole object with one PUT
	DeleteURL  string
	SkipDelete bool // rails-api deletes the temporary object itself

	CustomPutHeaders bool // PutHeaders are all there are
	PutHeaders       map[string]string
	Timeout          float64 // seconds; 0 is four hours
	MultipartUpload  *MultipartUpload
}

// MultipartUpload takes an object of unknown length in parts.
type MultipartUpload struct {
	PartSize    int64
	PartURLs    []string // each takes one part with PUT
	CompleteURL string
	AbortURL    string
}

var errDestination = errors.New("rails-api named no place, or two, for an upload")

// check refuses what cannot be followed.
func (d Destination) check() error {
	if (d.TempPath == "") == (d.RemoteObject.ID == "") {
		return errDestination
	}
	if m := d.RemoteObject.MultipartUpload; d.TempPath == "" && m == nil && d.RemoteObject.StoreURL == "" {
		return fmt.Errorf("%w: no address to store at", errDestination)
	}
	return nil
}

func (o RemoteObject) timeout() time.Duration {
	const usual = 4 * time.Hour
	if o.Timeout <= 0 || o.Timeout > usual.Seconds() {
		return usual
	}
	return time.Duration(o.Timeout * float64(time.Second))
}
