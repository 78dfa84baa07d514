package s3test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	timeFormat = "20060102T150405Z"
	anyPayload = "UNSIGNED-PAYLOAD"
)

// signature is what a request says about how it is signed.
type signature struct {
	scope   string // date/region/s3/aws4_request
	date    string
	headers []string
	payload string
	value   string
	valid   time.Duration
}

// verify checks the signature of a request: in its query, as of a pre-signed
// address, or in its header.
func verify(r *http.Request, now time.Time) error {
	read := fromHeader
	if r.URL.Query().Has("X-Amz-Signature") {
		read = fromQuery
	}
	sig, err := read(r)
	if err != nil {
		return err
	}
	at, err := time.Parse(timeFormat, sig.date)
	if err != nil {
		return err
	}
	const skew = 15 * time.Minute
	if now.Before(at.Add(-skew)) || now.After(at.Add(sig.valid)) {
		return errors.New("the signature is too old, or of the future")
	}
	if want := fmt.Sprintf("%s/%s/s3/aws4_request", sig.date[:8], Region); sig.scope != want {
		return fmt.Errorf("scope %q instead of %q", sig.scope, want)
	}
	if want := sig.compute(r); !hmac.Equal([]byte(want), []byte(sig.value)) {
		return errors.New("the signature is wrong")
	}
	return nil
}

func fromQuery(r *http.Request) (signature, error) {
	q := r.URL.Query()
	seconds, err := strconv.Atoi(q.Get("X-Amz-Expires"))
	const most = 7 * 24 * 3600
	if err != nil || seconds < 1 || seconds > most || q.Get("X-Amz-Algorithm") != algorithm {
		return signature{}, errUnsigned
	}
	scope, err := scopeOf(q.Get("X-Amz-Credential"))
	return signature{
		scope: scope, date: q.Get("X-Amz-Date"), headers: strings.Split(q.Get("X-Amz-SignedHeaders"), ";"), payload: anyPayload,
		value: q.Get("X-Amz-Signature"), valid: time.Duration(seconds) * time.Second,
	}, err
}

func fromHeader(r *http.Request) (signature, error) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
	if !ok {
		return signature{}, errUnsigned
	}
	fields := map[string]string{}
	for field := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		fields[name] = value
	}
	scope, err := scopeOf(fields["Credential"])
	const validity = 15 * time.Minute
	return signature{
		scope: scope, date: r.Header.Get("X-Amz-Date"), headers: strings.Split(fields["SignedHeaders"], ";"),
		payload: r.Header.Get("X-Amz-Content-Sha256"), value: fields["Signature"], valid: validity,
	}, err
}

func scopeOf(credential string) (string, error) {
	key, scope, _ := strings.Cut(credential, "/")
	if key != AccessKey {
		return "", errors.New("the access key is unknown")
	}
	return scope, nil
}

// compute signs the request as its client must have done.
func (sig signature) compute(r *http.Request) string {
	var headers strings.Builder
	for _, name := range sig.headers {
		value := strings.TrimSpace(strings.Join(r.Header.Values(name), ","))
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		headers.WriteString(name + ":" + value + "\n")
	}
	request := strings.Join([]string{
		r.Method, r.URL.EscapedPath(), canonicalQuery(r.URL.Query()), headers.String(), strings.Join(sig.headers, ";"), sig.payload,
	}, "\n")
	text := strings.Join([]string{algorithm, sig.date, sig.scope, hexSum(request)}, "\n")
	key := []byte("AWS4" + SecretKey)
	for part := range strings.SplitSeq(sig.scope, "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, text))
}

func canonicalQuery(q url.Values) string {
	q.Del("X-Amz-Signature")
	var pairs []string
	for name, values := range q {
		for _, v := range values {
			pairs = append(pairs, escape(name)+"="+escape(v))
		}
	}
	sort.Strings(pairs)
	return strings.Join(pairs, "&")
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
