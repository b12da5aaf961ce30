package main

import (
	"crypto/sha256"
	"io"
	"os"
	"syscall"

	"github.com/redoubtmq/redoubt/config"
)

// contents is what the files beside the configuration had in them when they were last read, so
// that a reload can say which of them are different; ruleFiles know it of themselves. It decides nothing.
type contents struct {
	bans [sha256.Size]byte
}

// contentsMax bounds what is looked at of each; whoever reads it for its meaning takes less.
const contentsMax = 64 << 20

func readContents(c *config.Config) contents {
	return contents{contentOf(c.Bans.File)}
}

// contentOf is a sum of a file's name and content. What cannot be read is the same as what is
// empty: whoever needs it says so.
func contentOf(path string) (sum [sha256.Size]byte) {
	if path == "" {
		return sum
	}
	h := sha256.New()
	_, _ = io.WriteString(h, path+"\x00")
	if f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil { // a pipe must not hang a reload
		defer f.Close()
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			_, _ = io.Copy(h, io.LimitReader(f, contentsMax))
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}
