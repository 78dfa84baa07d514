package storage

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// signer makes addresses that permit one request to one object for a while.
type signer struct {
	client  *s3.Client
	presign *s3.PresignClient
	bucket  string
}

func newSigner(client *s3.Client, bucket string) signer {
	return signer{client: client, presign: s3.NewPresignClient(client), bucket: bucket}
}

func address(r *v4.PresignedHTTPRequest, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return r.URL, nil
}

func (s signer) get(ctx context.Context, key string, valid time.Duration) (string, error) {
	return address(s.presign.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &key}, s3.WithPresignExpires(valid)))
}

func (s signer) put(ctx context.Context, key string, valid time.Duration) (string, error) {
	return address(s.presign.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &s.bucket, Key: &key}, s3.WithPresignExpires(valid)))
}

func (s signer) delete(ctx context.Context, key string, valid time.Duration) (string, error) {
	return address(s.presign.PresignDeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key}, s3.WithPresignExpires(valid)))
}

func (s signer) part(ctx context.Context, key, upload string, number int32, valid time.Duration) (string, error) {
	return address(s.presign.PresignUploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.bucket, Key: &key, UploadId: &upload, PartNumber: &number,
	}, s3.WithPresignExpires(valid)))
}

// ofUpload signs a request about an upload as a whole, for which the library has
// nothing: POST completes it and DELETE aborts it.
func (s signer) ofUpload(ctx context.Context, method, key, upload string, valid time.Duration) (string, error) {
	object, err := s.get(ctx, key, valid)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(object)
	if err != nil {
		return "", fmt.Errorf("address of an object: %w", err)
	}
	u.RawQuery = url.Values{"uploadId": {upload}, "X-Amz-Expires": {strconv.Itoa(int(valid.Seconds()))}}.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
	if err != nil {
		return "", fmt.Errorf("address of an upload: %w", err)
	}
	o := s.client.Options()
	credentials, err := o.Credentials.Retrieve(ctx)
	if err != nil {
		return "", fmt.Errorf("credentials: %w", err)
	}
	const anyPayload = "UNSIGNED-PAYLOAD"
	signed, _, err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).
		PresignHTTP(ctx, credentials, req, anyPayload, "s3", o.Region, time.Now())
	return signed, err
}
