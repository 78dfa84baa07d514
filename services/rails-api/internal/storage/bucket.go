package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/s3blob" // addresses that begin with s3://
	"gocloud.dev/gcerrors"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/handover"
	"gitsplit/services/rails-api/internal/uploaded"
)

// bucket keeps files in object storage that speaks S3's protocol. Workhorse gets
// addresses that are signed for one thing and a while, never credentials.
type bucket struct {
	blobs *blob.Bucket
	s3    *s3.Client
	name  string
	sign  signer
}

// parameters are what an address may say. Credentials are none of them.
var parameters = []string{"region", "endpoint", "use_path_style", "profile"}

func openBucket(ctx context.Context, u *url.URL) (*bucket, error) {
	q := u.Query()
	for name := range q {
		if !slices.Contains(parameters, name) {
			return nil, fmt.Errorf("object storage: the address has a parameter that is none of %s", strings.Join(parameters, ", "))
		}
	}
	if u.User != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.Fragment != "" {
		return nil, errors.New("object storage: want s3://bucket?region=…&endpoint=…, and credentials in the environment or in files")
	}
	if e := q.Get("endpoint"); e != "" {
		if p, err := url.Parse(e); err != nil || p.Host == "" || p.User != nil || p.Scheme != "http" && p.Scheme != "https" {
			return nil, errors.New("object storage: the endpoint is no http or https address")
		}
		if !q.Has("use_path_style") { // few but AWS have a name for every bucket
			q.Set("use_path_style", "true")
		}
	}
	// More than S3's own check sums is what only some servers know.
	q.Set("request_checksum_calculation", "when_required")
	q.Set("response_checksum_validation", "when_required")
	out := url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: q.Encode()}
	blobs, err := blob.OpenBucket(ctx, out.String())
	if err != nil {
		return nil, fmt.Errorf("object storage: %w", err)
	}
	b := &bucket{blobs: blobs, name: u.Host}
	if !blobs.As(&b.s3) {
		return nil, errors.Join(errors.New("object storage: no client for S3"), blobs.Close())
	}
	if b.s3.Options().Region == "" {
		return nil, errors.Join(errors.New("object storage: the region is missing"), blobs.Close())
	}
	b.sign = newSigner(b.s3, b.name)
	return b, nil
}

// OpenBucket opens the bucket of an address without a path, for files that are no stored ones: backups.
func OpenBucket(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	b, err := openBucket(ctx, u)
	if err != nil {
		return nil, err
	}
	return b.blobs, nil
}

var uploadPattern = regexp.MustCompile(`^` + uploadPrefix + `[0-9a-f]{32}$`)

// uploadPrefix begins the keys of uploads that are not kept yet.
const uploadPrefix = tempPrefix + "uploads/"

// patience bounds what is asked of object storage while somebody waits.
const patience = 30 * time.Second

// uploadTime is how long an upload may take (wire/workhorse.md §6.6); the addresses
// are good for a little longer.
const (
	uploadTime  = 4 * time.Hour
	signedFor   = uploadTime + 15*time.Minute
	downloadFor = 10 * time.Minute // to begin it
)

func (b *bucket) place(ctx context.Context, maximum int64) (uploaded.Destination, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o := &uploaded.RemoteObject{ID: NewKey(strings.TrimSuffix(uploadPrefix, "/")), Timeout: uploadTime.Seconds()}
	var err error
	if o.GetURL, err = b.sign.get(ctx, o.ID, signedFor); err != nil {
		return uploaded.Destination{}, failed("sign", err)
	}
	if o.DeleteURL, err = b.sign.delete(ctx, o.ID, signedFor); err != nil {
		return uploaded.Destination{}, failed("sign", err)
	}
	d := uploaded.Destination{RemoteObject: o}
	if 0 < maximum && maximum <= largestPut {
		o.StoreURL, err = b.sign.put(ctx, o.ID, signedFor)
		o.CustomPutHeaders = true               // none: the address is signed without
		d.UploadHashFunctions = []string{"md5"} // which workhorse compares with the tag of what was stored
		return d, failed("sign", err)
	}
	o.MultipartUpload, err = b.multipart(ctx, o.ID, maximum)
	return d, failed("begin an upload", err)
}

func (b *bucket) keep(ctx context.Context, f uploaded.File, key string) error {
	if !uploadPattern.MatchString(f.RemoteID) {
		return fmt.Errorf("upload %q is not where it was to be stored", f.RemoteID)
	}
	size, err := b.size(ctx, f.RemoteID)
	if err != nil {
		return err
	}
	if size != f.Size {
		return fmt.Errorf("upload %q has %d bytes instead of %d", f.RemoteID, size, f.Size)
	}
	// The upload itself is removed by workhorse, when the request ends.
	if size > largestCopy {
		return failed("keep", b.copyParts(ctx, f.RemoteID, key, size))
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	return failed("keep", b.blobs.Copy(ctx, key, f.RemoteID, nil))
}

func (b *bucket) size(ctx context.Context, key string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	attributes, err := b.blobs.Attributes(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return 0, absent(key, err)
	}
	if err != nil {
		return 0, failed("look up", err)
	}
	return attributes.Size, nil
}

func (b *bucket) remove(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := b.blobs.Delete(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil
	}
	return failed("remove", err)
}

// passed are the headers of object storage that the client sees: those of ranges
// and conditions. Its errors were asked for before.
var passed = []string{"Accept-Ranges", "Content-Length", "Content-Range", "ETag", "Last-Modified"}

func (b *bucket) send(ctx context.Context, header http.Header, key string) error {
	if _, err := b.size(ctx, key); err != nil {
		return err
	}
	address, err := b.sign.get(ctx, key, downloadFor)
	if err != nil {
		return failed("sign", err)
	}
	return handover.URL(header, address, passed...)
}

func (b *bucket) list(ctx context.Context, each func(key string, size int64) error) error {
	for files := b.blobs.List(nil); ; {
		o, err := files.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return failed("list", err)
		}
		if err := each(o.Key, o.Size); err != nil {
			return err
		}
	}
}

func (b *bucket) open(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := b.blobs.NewReader(ctx, key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, absent(key, err)
	}
	if err != nil {
		return nil, failed("open", err)
	}
	return r, nil
}

func (b *bucket) put(ctx context.Context, key string, content io.Reader) error {
	return failed("put", b.blobs.Upload(ctx, key, content, &blob.WriterOptions{ContentType: "application/octet-stream"}))
}

func (b *bucket) close() error { return b.blobs.Close() }

// unavailable is what people read when object storage does not do what it was
// asked for.
const unavailable = "The object storage is not available at this time. Please try again later."

// failed says what was tried. The errors of the client name no credentials and no
// signed addresses.
func failed(what string, err error) error {
	if _, told := errors.AsType[*errs.Error](err); told || err == nil {
		return err
	}
	err = fmt.Errorf("object storage: %s: %w", what, err)
	if errors.Is(err, context.Canceled) {
		return errs.Wrap(errs.Canceled, "", err)
	}
	return errs.Wrap(errs.Unavailable, unavailable, err)
}
