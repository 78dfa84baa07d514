// Package token makes gitaly's v2 tokens, for package gitalyauth and for programs that
// start too often to carry gRPC along.
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// Version is the first part of a token.
const Version = "v2"

// Sign makes the token for a call at the time now.
func Sign(secret []byte, now time.Time) string {
	ts := strconv.FormatInt(now.Unix(), 10)
	return Version + "." + hex.EncodeToString(MAC(secret, ts)) + "." + ts
}

// MAC is the second part of the token with that time.
func MAC(secret []byte, ts string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(ts))
	return h.Sum(nil)
}
