package s3test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
)

func (s *Server) begin(w http.ResponseWriter, _ *http.Request, key string, _ url.Values) error {
	s.mu.Lock()
	s.next++
	id := fmt.Sprintf("upload-%d", s.next)
	s.uploads[id] = &upload{key: key, started: time.Now(), parts: map[int]object{}}
	s.mu.Unlock()
	return xml.NewEncoder(w).Encode(struct {
		XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket   string
		Key      string
		UploadID string `xml:"UploadId"`
	}{Bucket: Bucket, Key: key, UploadID: id})
}

// find returns an upload of a key; the caller holds the lock.
func (s *Server) find(key string, q url.Values) (*upload, error) {
	u := s.uploads[q.Get("uploadId")]
	if u == nil || u.key != key {
		return nil, &fault{http.StatusNotFound, "NoSuchUpload", q.Get("uploadId")}
	}
	return u, nil
}

func (s *Server) putPart(w http.ResponseWriter, r *http.Request, key string, q url.Values) error {
	number, err := strconv.Atoi(q.Get("partNumber"))
	if err != nil || number < 1 {
		return &fault{http.StatusBadRequest, "InvalidArgument", "partNumber"}
	}
	o, err := s.receive(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	u, err := s.find(key, q)
	if err == nil {
		u.parts[number] = o
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.stored(w, r, o)
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request, key string, q url.Values) error {
	var in struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Part) == 0 {
		return &fault{http.StatusBadRequest, "MalformedXML", "no parts"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := s.find(key, q)
	if err != nil {
		return err
	}
	var readers []io.Reader
	for _, p := range in.Part {
		o, ok := u.parts[p.PartNumber]
		if !ok || strings.Trim(p.ETag, `"`) != strings.Trim(o.etag, `"`) {
			return &fault{http.StatusBadRequest, "InvalidPart", strconv.Itoa(p.PartNumber)}
		}
		file, err := os.Open(o.path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // only read
		readers = append(readers, file)
	}
	o, err := s.write(io.MultiReader(readers...))
	if err != nil {
		return err
	}
	o.etag = fmt.Sprintf(`%s-%d"`, strings.TrimSuffix(o.etag, `"`), len(in.Part))
	s.objects[key] = o
	delete(s.uploads, q.Get("uploadId"))
	return xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket  string
		Key     string
		ETag    string
	}{Bucket: Bucket, Key: key, ETag: o.etag})
}

func (s *Server) abort(w http.ResponseWriter, _ *http.Request, key string, q url.Values) error {
	s.mu.Lock()
	_, err := s.find(key, q)
	delete(s.uploads, q.Get("uploadId"))
	s.mu.Unlock()
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// list answers in pages, as long as max-keys says.
func (s *Server) list(w http.ResponseWriter, _ *http.Request, _ string, q url.Values) error {
	type content struct {
		Key, ETag, LastModified string
		Size                    int64
	}
	out := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Name                  string
		IsTruncated           bool
		NextContinuationToken string
		Contents              []content
	}{Name: Bucket}
	most, err := strconv.Atoi(q.Get("max-keys"))
	if err != nil {
		most = 1000
	}
	s.mu.Lock()
	keys := make([]string, 0, len(s.objects))
	for key := range s.objects {
		if strings.HasPrefix(key, q.Get("prefix")) && key > q.Get("continuation-token") {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	if out.IsTruncated = len(keys) > most; out.IsTruncated {
		keys = keys[:most]
		out.NextContinuationToken = keys[most-1]
	}
	for _, key := range keys {
		o := s.objects[key]
		out.Contents = append(out.Contents, content{key, o.etag, o.modified.UTC().Format(time.RFC3339), o.size})
	}
	s.mu.Unlock()
	return xml.NewEncoder(w).Encode(out)
}

func (s *Server) listUploads(w http.ResponseWriter, _ *http.Request, _ string, q url.Values) error {
	type entry struct {
		Key       string
		UploadID  string `xml:"UploadId"`
		Initiated string
	}
	out := struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Upload  []entry
	}{}
	s.mu.Lock()
	for id, u := range s.uploads {
		if strings.HasPrefix(u.key, q.Get("prefix")) {
			out.Upload = append(out.Upload, entry{u.key, id, u.started.UTC().Format(time.RFC3339)})
		}
	}
	s.mu.Unlock()
	return xml.NewEncoder(w).Encode(out)
}

// split takes the path of a request apart: /bucket/key.
func split(path string) (bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return bucket, key
}

var errUnsigned = errors.New("the request is not signed")
