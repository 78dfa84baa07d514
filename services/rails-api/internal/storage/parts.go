package storage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/uploaded"
)

const (
	mib = 1 << 20
	// largestPut is what comes in one piece: workhorse puts on disk what it sends so.
	largestPut  = 64 * mib
	smallPart   = 16 * mib
	usualPart   = 100 * mib // when nothing is known of the size
	largestPart = 5 << 30   // S3 takes no larger ones
	maxParts    = 100       // wire/workhorse.md §6.6
	// largestCopy is what is copied in one piece, and how large the pieces are.
	largestCopy = 256 * mib
	copiers     = 8 // pieces at a time
)

// partSize returns the size of the parts for an object of maximum bytes.
func partSize(maximum int64) int64 {
	if maximum <= 0 {
		return usualPart
	}
	part := (maximum + maxParts - 1) / maxParts
	return max(smallPart, (part+mib-1)/mib*mib)
}

// multipart begins an upload in parts.
func (b *bucket) multipart(ctx context.Context, key string, maximum int64) (*uploaded.MultipartUpload, error) {
	m := &uploaded.MultipartUpload{PartSize: partSize(maximum)}
	if m.PartSize > largestPart {
		return nil, errs.New(errs.Invalid, "the file is too large for the object storage")
	}
	parts := int32(maxParts)
	if maximum > 0 {
		parts = int32((maximum + m.PartSize - 1) / m.PartSize)
	}
	begun, err := b.s3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return nil, err
	}
	id := aws.ToString(begun.UploadId)
	for n := int32(1); n <= parts && err == nil; n++ {
		var address string
		address, err = b.sign.part(ctx, key, id, n, signedFor)
		m.PartURLs = append(m.PartURLs, address)
	}
	if err == nil {
		m.CompleteURL, err = b.sign.ofUpload(ctx, http.MethodPost, key, id, signedFor)
	}
	if err == nil {
		m.AbortURL, err = b.sign.ofUpload(ctx, http.MethodDelete, key, id, signedFor)
	}
	return m, err
}

// copyParts copies what is too large for one request, in pieces side by side: the
// client of the upload waits for it.
func (b *bucket) copyParts(ctx context.Context, from, to string, size int64) error {
	begun, err := b.s3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &b.name, Key: &to})
	if err != nil {
		return err
	}
	parts := make([]types.CompletedPart, (size+largestCopy-1)/largestCopy)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(copiers)
	for i := range parts {
		group.Go(func() error {
			first := int64(i) * largestCopy
			last := min(first+largestCopy, size) - 1
			out, err := b.s3.UploadPartCopy(groupCtx, &s3.UploadPartCopyInput{
				Bucket: &b.name, Key: &to, UploadId: begun.UploadId, PartNumber: aws.Int32(int32(i) + 1),
				CopySource: aws.String(b.name + "/" + from), CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", first, last)),
			})
			if err != nil {
				return err
			}
			parts[i] = types.CompletedPart{ETag: out.CopyPartResult.ETag, PartNumber: aws.Int32(int32(i) + 1)}
			return nil
		})
	}
	if err = group.Wait(); err == nil {
		_, err = b.s3.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &b.name, Key: &to, UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	if err != nil {
		return errors.Join(err, b.abort(ctx, to, begun.UploadId))
	}
	return nil
}

// abort gives up an upload in parts, also when the request is over.
func (b *bucket) abort(ctx context.Context, key string, id *string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_, err := b.s3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: &key, UploadId: id})
	return err
}

func (b *bucket) sweep(ctx context.Context, before time.Time) error {
	return failed("sweep", errors.Join(b.sweepObjects(ctx, before), b.sweepParts(ctx, before)))
}

func (b *bucket) sweepObjects(ctx context.Context, before time.Time) error {
	pages := s3.NewListObjectsV2Paginator(b.s3, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: aws.String(uploadPrefix)})
	var faults []error
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return errors.Join(append(faults, err)...)
		}
		for _, o := range page.Contents {
			if aws.ToTime(o.LastModified).Before(before) {
				faults = append(faults, b.remove(ctx, aws.ToString(o.Key)))
			}
		}
	}
	return errors.Join(faults...)
}

// sweepParts aborts unfinished uploads, also those to keys: copies of large files are
// made in parts too. Those of others who share the bucket are left alone.
func (b *bucket) sweepParts(ctx context.Context, before time.Time) error {
	pages := s3.NewListMultipartUploadsPaginator(b.s3, &s3.ListMultipartUploadsInput{Bucket: &b.name})
	var faults []error
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return errors.Join(append(faults, err)...)
		}
		for _, u := range page.Uploads {
			key := aws.ToString(u.Key)
			if ours := check(key) == nil || uploadPattern.MatchString(key); ours && aws.ToTime(u.Initiated).Before(before) {
				faults = append(faults, b.abort(ctx, key, u.UploadId))
			}
		}
	}
	return errors.Join(faults...)
}
