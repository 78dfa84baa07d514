package diff

import "path"

// Limits bound what is sent of a comparison. The zero value does not.
type Limits struct {
	Enforce   bool // end at Files, Lines or Bytes, and leave out patches of PatchBytes
	PatchOnly bool // of Enforce only PatchBytes, which may be larger then
	Collapse  bool // leave out the patches behind SafeFiles, SafeLines or SafeBytes
	// AllPaths goes on without patches where Enforce would end.
	AllPaths bool

	Files, Lines, Bytes             int
	SafeFiles, SafeLines, SafeBytes int
	PatchBytes                      int            // 0 is the largest value
	PatchBytesByExtension           map[string]int // by ".txt", or the whole name without extension
}

// Upper bounds of the limits, whatever is asked for.
const (
	maxFiles      = 5000
	maxLines      = 250_000
	maxBytes      = 5000 * 5120
	safeMaxFiles  = 500
	safeMaxLines  = 25_000
	safeMaxBytes  = 500 * 5120
	maxPatchBytes = 512_000
)

// bounded returns the limits within their upper bounds.
func (l Limits) bounded() Limits {
	l.Files, l.Lines, l.Bytes = min(l.Files, maxFiles), min(l.Lines, maxLines), min(l.Bytes, maxBytes)
	l.SafeFiles, l.SafeLines, l.SafeBytes = min(l.SafeFiles, safeMaxFiles), min(l.SafeLines, safeMaxLines), min(l.SafeBytes, safeMaxBytes)
	largest := maxPatchBytes
	if l.PatchOnly {
		largest = maxBytes
	}
	if l.PatchBytes <= 0 || l.PatchBytes > largest {
		l.PatchBytes = largest
	}
	return l
}

// patchBytes is the size from which the patch of a file is left out.
func (l Limits) patchBytes(name []byte) int {
	base := path.Base(string(name))
	key := path.Ext(base)
	if key == "" {
		key = base
	}
	if n, ok := l.PatchBytesByExtension[key]; ok {
		return min(n, maxBytes)
	}
	return l.PatchBytes
}

// budget is what the patches so far have used.
type budget struct {
	limits              Limits
	files, lines, bytes int
}

func (b *budget) overSafe() bool {
	return b.files > b.limits.SafeFiles || b.lines > b.limits.SafeLines || b.bytes > b.limits.SafeBytes
}

func (b *budget) over() bool {
	if b.limits.PatchOnly {
		return false
	}
	return b.files > b.limits.Files || b.lines >= b.limits.Lines || b.bytes >= b.limits.Bytes
}

// doomed reports whether the patch that is being read will be left out whatever its
// rest is, so that there is no need to keep it.
func (b *budget) doomed(f *File) bool {
	return b.limits.Collapse && b.overSafe() ||
		b.limits.Enforce && (b.over() || f.Size >= b.limits.patchBytes(f.NewPath))
}

// streams reports whether patches are sent as they come: no limit can leave them out
// afterwards.
func (b *budget) streams() bool { return !b.limits.Enforce && !b.limits.Collapse }

// judge says what becomes of a patch that was read to its end.
func (b *budget) judge(f *File) {
	if b.limits.Collapse && b.overSafe() && f.lines > 0 {
		f.Collapsed = true
		b.refund(f)
	}
	if !b.limits.Enforce {
		return
	}
	if !f.Collapsed && f.Size >= b.limits.patchBytes(f.NewPath) {
		f.TooLarge = true
		b.refund(f)
	}
	f.Overflow = b.over()
}

// refund takes back what a patch used that is not sent.
func (b *budget) refund(f *File) {
	b.lines -= f.lines
	b.bytes -= f.bytes
}
