package commit

import (
	"bytes"
	"strings"

	"gitsplit/proto/go/gitalypb"
)

// SignatureType tells the kind of a signature by its first line.
func SignatureType(signature string) gitalypb.SignatureType {
	switch {
	case strings.HasPrefix(signature, "-----BEGIN PGP "):
		return gitalypb.SignatureType_PGP
	case strings.HasPrefix(signature, "-----BEGIN SIGNED MESSAGE-----"):
		return gitalypb.SignatureType_X509
	case strings.HasPrefix(signature, "-----BEGIN SSH SIGNATURE-----"):
		return gitalypb.SignatureType_SSH
	}
	return gitalypb.SignatureType_NONE
}

// signatureHeader is where a commit of a repository with ids like the given has its
// signature. One of the other hash may stand beside it: it signs the same commit in
// that hash's form.
func signatureHeader(oid string) string {
	if len(oid) == 64 {
		return "gpgsig-sha256"
	}
	return "gpgsig"
}

func isSignature(key string) bool { return key == "gpgsig" || key == "gpgsig-sha256" }

// Signature takes a raw commit apart into its signature, unfolded and with the line
// break at its end, and what was signed: the commit without the headers of signatures.
// Of several signatures the first of the repository's own hash counts. signature is
// nil for a commit without one.
func Signature(oid string, raw []byte) (signature, signed []byte) {
	own := false
	taking := &signed // where continuation lines go
	for len(raw) > 0 && raw[0] != '\n' {
		end := bytes.IndexByte(raw, '\n') + 1
		if end == 0 {
			end = len(raw)
		}
		line := raw[:end]
		raw = raw[end:]
		if line[0] == ' ' {
			*taking = append(*taking, unfold(line, taking == &signed)...)
			continue
		}
		key, value, _ := bytes.Cut(line, []byte(" "))
		switch name := string(key); {
		case !isSignature(name):
			taking = &signed
			signed = append(signed, line...)
		case signature == nil, name == signatureHeader(oid) && !own:
			own = name == signatureHeader(oid)
			signature = bytes.Clone(value)
			taking = &signature
		default:
			taking = new([]byte)
		}
	}
	return signature, append(signed, raw...)
}

// unfold removes the blank in front of a continuation line, unless it is to stay.
func unfold(line []byte, keep bool) []byte {
	if keep {
		return line
	}
	return line[1:]
}

// tagSignatures are the lines that begin a signature in a tag (git's gpg-interface).
var tagSignatures = []string{ //nolint:gochecknoglobals // a constant
	"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----", "-----BEGIN SIGNED MESSAGE-----", "-----BEGIN SSH SIGNATURE-----",
}

// SplitTag takes a raw tag object, or the message of one, apart into what was signed
// and the signature. That begins, as for git, at the last line that looks like a
// beginning; signature is empty for a tag without one.
func SplitTag(raw []byte) (signed, signature []byte) {
	begin := len(raw)
	for at := 0; at < len(raw); {
		line, _, _ := bytes.Cut(raw[at:], []byte("\n"))
		for _, start := range tagSignatures {
			if bytes.HasPrefix(line, []byte(start)) {
				begin = at
			}
		}
		at += len(line) + 1
	}
	return raw[:begin], raw[begin:]
}
