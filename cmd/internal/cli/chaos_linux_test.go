package cli_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestChaos_NoSpaceLeft fills a file system of its own, which only root may mount: the database is full in the middle of a
// run. With TestChaos_FullDisk it is the same from another side.
func TestChaos_NoSpaceLeft(t *testing.T) {
	long(t)
	t.Parallel()
	disk := t.TempDir()
	size := func(kilobytes int64, flags uintptr) error {
		return syscall.Mount("tmpfs", disk, "tmpfs", flags, fmt.Sprintf("size=%dk", kilobytes))
	}
	if err := size(64<<10, 0); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	e := newEstate(t, "sqlite://"+disk+"/idpsync.db", 300, 12, "")
	full := 0
	for i := range 2 + episodes(t, 3) {
		for range 30 {
			e.live()
		}
		var fs syscall.Statfs_t
		if err := syscall.Statfs(disk, &fs); err != nil {
			t.Fatal(err)
		}
		used := int64(fs.Blocks-fs.Bfree) * fs.Bsize >> 10
		room := int64(4 + e.random.IntN(120))
		if i == 0 {
			room = 1000 // the first pull of all ends half way
		}
		if err := size(used+room, syscall.MS_REMOUNT); err != nil {
			t.Fatal(err)
		}
		status, out := e.status("resync", "--full")
		if status != 0 {
			full++
			if status != 1 || !strings.Contains(out, "full") && !strings.Contains(out, "disk I/O error") {
				t.Errorf("idpsync resync with %d KB left: exit status %d, %s; want 1, and the disk named", room, status, out)
			}
		}
		if err := size(64<<10, syscall.MS_REMOUNT); err != nil {
			t.Fatal(err)
		}
		e.repair("resync")
	}
	if full == 0 {
		t.Error("no run ran out of room")
	}
	t.Logf("seed %d: %d runs ran out of room; lost or wrongly deactivated: 0", e.seed, full)
}
