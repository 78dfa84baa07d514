package param

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func parse(tb testing.TB, method, target, contentType, body string) (*Set, error) {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, "http://api.example", strings.NewReader(body))
	r.URL.RawQuery = target
	r.Header.Set("Content-Type", contentType)
	return Parse(r)
}

func TestParse_sameInEveryForm(t *testing.T) {
	t.Parallel()
	multipart := "--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nx y\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n7\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\ncontent\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"on\"\r\n\r\ntrue\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"l[]\"\r\n\r\na\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"l[]\"\r\n\r\nb\r\n--b--\r\n"
	cases := []struct{ name, method, query, contentType, body string }{
		{"query", "GET", "title=x+y&id=7&on=true&l%5B%5D=a&l[]=b", "", ""},
		{"form", "POST", "", "application/x-www-form-urlencoded", "title=x+y&id=7&on=1&l[]=a&l[]=b"},
		{"form with commas", "POST", "", "application/x-www-form-urlencoded; charset=utf-8", "title=x+y&id=7&on=yes&l=a,b"},
		{"json", "PUT", "", "application/json; charset=utf-8", `{"title":"x y","id":7,"on":true,"l":["a",null,"b"]}`},
		{"json strings", "PUT", "", "application/json", `{"title":"x y","id":"7","on":"true","l":"a,b"}`},
		{"query and json", "POST", "title=other&id=7", "application/json", `{"title":"x y","on":true,"l":["a","b"]}`},
		{"multipart", "POST", "", "multipart/form-data; boundary=b", multipart},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, err := parse(t, tc.method, tc.query, tc.contentType, tc.body)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.String("title"); got != "x y" {
				t.Errorf("title = %q", got)
			}
			if got := s.Int("id", 0); got != 7 {
				t.Errorf("id = %d", got)
			}
			if !s.Flag("on") {
				t.Error("on is not set")
			}
			if got := s.Strings("l"); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("l = %q", got)
			}
			if err := s.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParse_refuses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, query, contentType, body string
		want                           error
	}{
		{"bad query", "a=%zz", "application/json", "", ErrMalformed},
		{"semicolon in query", "a=1;b=2", "application/json", "", ErrMalformed},
		{"bad form", "", "application/x-www-form-urlencoded", "a=%zz", ErrMalformed},
		{"no json", "", "application/json", "{", ErrMalformed},
		{"json list", "", "application/json", "[1]", ErrMalformed},
		{"two documents", "", "application/json", "{} {}", ErrMalformed},
		{"deep json", "", "application/json", `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, ErrMalformed},
		{"other type", "", "text/plain", "x", ErrContentType},
		{"no type", "", "", "x", ErrContentType},
		{"no boundary", "", "multipart/form-data", "x", ErrMalformed},
		{"broken multipart", "", "multipart/form-data; boundary=b", "--b\r\nno header\r\n\r\n", ErrMalformed},
		{"too large", "", "application/json", `{"a":"` + strings.Repeat("x", MaxBody) + `"}`, ErrTooLarge},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := parse(t, http.MethodPost, tc.query, tc.contentType, tc.body); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestParse_emptyBodyNeedsNoType(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", " \n"} {
		if _, err := parse(t, http.MethodPost, "", "", body); err != nil {
			t.Errorf("body %q: %v", body, err)
		}
	}
}

func TestSet_emptyIsNotGiven(t *testing.T) {
	t.Parallel()
	s, err := parse(t, "POST", "", "application/json", `{"s":"","n":null,"l":[],"b":"","d":"","i":""}`)
	if err != nil {
		t.Fatal(err)
	}
	if s.String("s") != "" || s.Int("i", 3) != 3 || s.Bool("b") != nil || s.Date("d") != nil || s.Strings("l") != nil || s.OptionalInt("n") != nil {
		t.Error("an empty value was taken as given")
	}
	if s.Text("n") != nil || s.Text("absent") != nil {
		t.Error("null was taken as text")
	}
	if got := s.Text("s"); got == nil || *got != "" {
		t.Errorf("cleared text = %v", got)
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

func TestSet_faults(t *testing.T) {
	t.Parallel()
	s, err := parse(t, "POST", "", "application/json",
		`{"i":"x","b":"maybe","d":"2026-13-01","e":"odd","o":7,"s":{"a":1},"l":[["x"]],"ids":"1,-2","z":"a\u0000b"}`)
	if err != nil {
		t.Fatal(err)
	}
	s.Require("title", "i")
	s.Require("title")
	s.RequireOne("name", "path")
	s.Int("i", 0)
	s.Bool("b")
	s.Date("d")
	s.Enum("e", "", "a", "b")
	s.OneOf("o", 0, 10, 20)
	s.String("s")
	s.Strings("l")
	s.IDs("ids")
	s.String("z")
	want := "title is missing, name, path are missing, at least one parameter must be provided, i is invalid, b is invalid, d is invalid, " +
		"e does not have a valid value, o does not have a valid value, s is invalid, l is invalid, ids is invalid, z is invalid"
	if got := s.Err(); got == nil || got.Error() != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestSet_values(t *testing.T) {
	t.Parallel()
	s, err := parse(t, "GET", "t=2026-02-03T23:30:00-05:00&d=2026-02-03&e=b&o=20&ids[]=3&ids[]=4&f=off&i=12", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Date("t"); !got.Equal(time.Date(2026, 2, 4, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("t = %v", got)
	}
	if got := s.Date("d"); got.Format(time.DateOnly) != "2026-02-03" {
		t.Errorf("d = %v", got)
	}
	if s.Enum("e", "a", "a", "b") != "b" || s.Enum("absent", "a", "a") != "a" || s.OneOf("o", 0, 10, 20) != 20 || s.OneOf("absent", 30, 10) != 30 {
		t.Error("enum or number is wrong")
	}
	if got := s.IDs("ids"); !slices.Equal(got, []int64{3, 4}) {
		t.Errorf("ids = %v", got)
	}
	if b := s.Bool("f"); b == nil || *b {
		t.Errorf("f = %v", b)
	}
	if n := s.OptionalInt("i"); n == nil || *n != 12 {
		t.Errorf("i = %v", n)
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a=1&b[]=2", "application/json", `{"a":[{"b":"c"}],"d":1e999}`)
	f.Add("", "application/x-www-form-urlencoded", "a=%00&l[]=1&l[]=2")
	f.Add("", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n")
	f.Add("", "application/json", `{"a":"\ud800","b":{"[":"]"}}`)
	f.Fuzz(func(t *testing.T, query, contentType, body string) {
		s, err := parse(t, http.MethodPost, query, contentType, body)
		if err != nil {
			return
		}
		for name := range s.values {
			if got := s.String(name); !valid(got) {
				t.Errorf("%q: %q holds what no column can", name, got)
			}
			for _, e := range s.Strings(name) {
				if e == "" || !valid(e) {
					t.Errorf("%q: bad element %q", name, e)
				}
			}
			s.Int(name, 0)
			s.Bool(name)
			s.Time(name)
		}
	})
}
