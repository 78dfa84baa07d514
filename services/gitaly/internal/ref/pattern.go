package ref

import (
	"regexp"
	"strings"

	"gitsplit/kit/errs"
)

// pattern is one of those that git for-each-ref takes: a full name, a prefix that ends
// at a slash, or a glob in which * and ? stop at slashes and ** does not. git itself
// can leave names out by pattern since 2.42 only.
type pattern struct {
	text string
	fold bool
	glob *regexp.Regexp // nil without wildcards
}

func compile(text string, ignoreCase bool) (pattern, error) {
	if !validPattern(text) {
		return pattern{}, errs.New(errs.Invalid, "invalid reference pattern")
	}
	p := pattern{text: text, fold: ignoreCase}
	if ignoreCase {
		p.text = strings.ToLower(text)
	}
	if !strings.ContainsAny(text, `*?[\`) {
		return p, nil
	}
	var err error
	if p.glob, err = regexp.Compile(translate(p.text)); err != nil {
		return p, errs.Wrap(errs.Invalid, "invalid reference pattern", err)
	}
	return p, nil
}

func validPattern(p string) bool {
	return p != "" && p[0] != '-' && len(p) <= maxName && !strings.ContainsAny(p, "\x00\n")
}

func (p pattern) match(name string) bool {
	if p.fold {
		name = strings.ToLower(name)
	}
	if rest, ok := strings.CutPrefix(name, p.text); ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(p.text, "/")) {
		return true
	}
	return p.glob != nil && p.glob.MatchString(name)
}

// translate turns a glob into a regular expression.
func translate(glob string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(glob); {
		rest := glob[i:]
		switch {
		case rest[0] == '*':
			stars := len(rest) - len(strings.TrimLeft(rest, "*"))
			after := rest[stars:]
			switch whole := stars > 1 && (i == 0 || glob[i-1] == '/'); { // components, not a part of one
			case whole && after == "":
				b.WriteString(".*")
			case whole && after[0] == '/':
				b.WriteString("(?:.*/)?")
				i++
			default:
				b.WriteString("[^/]*")
			}
			i += stars
		case rest[0] == '?':
			b.WriteString("[^/]")
			i++
		case rest[0] == '[':
			class, n := translateClass(rest)
			b.WriteString(class)
			i += n
		case rest[0] == '\\' && len(rest) > 1:
			b.WriteString(regexp.QuoteMeta(rest[1:2]))
			i += 2
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
			i++
		}
	}
	b.WriteString(`\z`)
	return b.String()
}

// translateClass turns [...] into a character class and returns how long it was. One
// that does not end matches nothing.
func translateClass(s string) (class string, n int) {
	negated := len(s) > 1 && (s[1] == '!' || s[1] == '^')
	first := 1
	if negated {
		first = 2
	}
	end := -1
	if first < len(s) {
		end = strings.IndexByte(s[first+1:], ']') // a bracket in front is a character
	}
	if end < 0 {
		return `[^\x00-\x{10FFFF}]`, len(s)
	}
	members := s[first : first+1+end]
	var b strings.Builder
	b.WriteByte('[')
	if negated {
		b.WriteString("^/")
	}
	for _, c := range []byte(members) {
		if c != '-' && strings.IndexByte(`[]\^&~`, c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte(']')
	return b.String(), first + 1 + end + 1
}
