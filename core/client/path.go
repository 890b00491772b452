package client

import (
	"strings"
	"syscall"
)

// Limits of names and paths: bytes, without the terminating NUL.
const (
	NameMax = 255
	PathMax = 4095
	// maxLinks is how many symbolic links one path may go through, as in Linux.
	maxLinks = 40
)

// checkPath refuses what can never be a path.
func checkPath(path string) error {
	switch {
	case path == "":
		return syscall.ENOENT
	case len(path) > PathMax:
		return syscall.ENAMETOOLONG
	case strings.IndexByte(path, 0) >= 0:
		return syscall.EINVAL
	}
	return nil
}

// cut takes the first component off a path. Slashes before it and after it are skipped; slash tells that there was one
// after it. rest is "" after the last component; name is "" when there is none (the path is empty or only slashes).
// "." and ".." are components like others: what they mean depends on what stands before them.
func cut(path string) (name, rest string, slash bool) {
	path = skipSlashes(path)
	end := strings.IndexByte(path, '/')
	if end < 0 {
		return path, "", false
	}
	return path[:end], skipSlashes(path[end:]), true
}

func skipSlashes(s string) string {
	for s != "" && s[0] == '/' {
		s = s[1:]
	}
	return s
}

// splice puts the target of a symbolic link in the place of the link: rest is what followed the link, slash that
// something must follow (the link had a slash after it).
func splice(target, rest string, slash bool) (string, error) {
	if target == "" {
		return "", syscall.ENOENT
	}
	if slash {
		target += "/" + rest
	}
	// The link's target and the rest of the path are bounded each; what they make together is bounded by the number of links.
	return target, nil
}

// lastKind says what the last component of a path is.
type lastKind uint8

const (
	lastName   lastKind = iota // a name
	lastRoot                   // none: the path is only slashes
	lastDot                    // "."
	lastDotDot                 // ".."
)

func kindOfLast(name string) lastKind {
	switch name {
	case "":
		return lastRoot
	case ".":
		return lastDot
	case "..":
		return lastDotDot
	}
	return lastName
}
