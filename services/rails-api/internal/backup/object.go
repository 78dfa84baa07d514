package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/archive"
	"gitsplit/services/rails-api/internal/storage"
)

// object is an archive in object storage.
type object struct {
	bucket *url.URL
	key    string
}

// bufferSize is the size of the pieces in which an archive is sent: S3 takes 10,000 of them.
const bufferSize = 64 << 20

// String returns the address without its parameters.
func (o object) String() string { return o.bucket.Scheme + "://" + o.bucket.Host + "/" + o.key }

// Open reads the object.
func (o object) Open(ctx context.Context) (io.ReadCloser, error) {
	b, err := storage.OpenBucket(ctx, o.bucket)
	if err != nil {
		return nil, err
	}
	r, err := b.NewReader(ctx, o.key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		err = errs.Newf(errs.NotFound, "there is no %s", o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the backup: %w", err), b.Close())
	}
	return bucketReader{r, b}, nil
}

// bucketReader closes the bucket too.
type bucketReader struct {
	*blob.Reader
	bucket *blob.Bucket
}

// Close closes both.
func (r bucketReader) Close() error { return errors.Join(r.Reader.Close(), r.bucket.Close()) }

// Write sends the object, which appears when it is complete, and reads it back; one that is not what was sent is removed.
func (o object) Write(ctx context.Context, fill func(io.Writer) error) (size int64, err error) {
	b, err := storage.OpenBucket(ctx, o.bucket)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if there, err := b.Exists(ctx, o.key); err != nil || there {
		if err == nil {
			err = errs.Newf(errs.Exists, "%s exists already", o)
		}
		return 0, fmt.Errorf("write the backup: %w", err)
	}
	if err := o.send(ctx, b, fill); err != nil {
		return 0, err
	}
	r, err := b.NewReader(ctx, o.key, nil)
	if err == nil {
		size = r.Size()
		_, err = archive.Verify(r)
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("read the backup back: %w", err), b.Delete(context.WithoutCancel(ctx), o.key))
	}
	return size, nil
}

func (o object) send(ctx context.Context, b *blob.Bucket, fill func(io.Writer) error) error {
	ctx, abandon := context.WithCancel(ctx)
	defer abandon() // before Close, this leaves no object
	w, err := b.NewWriter(ctx, o.key, &blob.WriterOptions{BufferSize: bufferSize, MaxConcurrency: 1, ContentType: "application/x-tar"})
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	if err := fill(w); err != nil {
		abandon()
		_ = w.Close() // its error is that it was abandoned
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return nil
}
