// Package check holds what the Makefile needs beside ready-made tools: the
// command testsum, which runs the tests and counts them, and a test of who may
// import whom. It depends on the standard library alone.
package check
