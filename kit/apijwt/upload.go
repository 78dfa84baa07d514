package apijwt

import (
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// FieldsHeader carries the token that says which fields of a request workhorse
// has written (wire/workhorse.md §6.2).
const FieldsHeader = "Gitlab-Workhorse-Multipart-Fields"

// UploadField is the name, after that of the file, of the field with a file's
// token (wire/workhorse.md §6.4).
const UploadField = "gitlab-workhorse-upload"

// maxUploadToken bounds the tokens of uploads: they carry names, sums and
// addresses of storage, and so are longer than others.
const maxUploadToken = 32 << 10

type uploadClaims struct {
	Upload map[string]string `json:"upload"`
	jwt.RegisteredClaims
}

type fieldsClaims struct {
	RewrittenFields map[string]string `json:"rewritten_fields"`
	jwt.RegisteredClaims
}

// SignUpload returns a token of workhorse for one stored file. Like the
// original's it has no time: it counts only together with a signed request.
func SignUpload(secret []byte, fields map[string]string) (string, error) {
	return signUploads(secret, uploadClaims{Upload: fields, RegisteredClaims: jwt.RegisteredClaims{Issuer: WorkhorseIssuer}})
}

// SignFields returns the value of FieldsHeader: the stored files of a request by
// their names, each with its local path or "".
func SignFields(secret []byte, rewritten map[string]string) (string, error) {
	return signUploads(secret, fieldsClaims{RewrittenFields: rewritten, RegisteredClaims: jwt.RegisteredClaims{Issuer: WorkhorseIssuer}})
}

// VerifyUpload returns the fields of a file's token. Every failure wraps ErrInvalid.
func VerifyUpload(secrets [][]byte, token string) (map[string]string, error) {
	var c uploadClaims
	err := verifyUploads(secrets, token, &c)
	return c.Upload, err
}

// VerifyFields returns what FieldsHeader says. Every failure wraps ErrInvalid.
func VerifyFields(secrets [][]byte, token string) (map[string]string, error) {
	var c fieldsClaims
	err := verifyUploads(secrets, token, &c)
	return c.RewrittenFields, err
}

func signUploads(secret []byte, claims jwt.Claims) (string, error) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign upload: %w", err)
	}
	return token, nil
}

func verifyUploads(secrets [][]byte, token string, claims jwt.Claims) error {
	if token == "" || len(token) > maxUploadToken {
		return fmt.Errorf("%w: %d bytes", ErrInvalid, len(token))
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(WorkhorseIssuer))
	err := errNoSecret
	for _, secret := range secrets {
		if len(secret) == 0 {
			continue
		}
		if _, err = parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return secret, nil }); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}
