package main

import (
	"syscall"
	"unsafe"
)

// linux/if_tun.h
const (
	tunSetIff     = 0x400454ca
	tunSetOffload = 0x400454d0
	iffTap        = 0x0002
	iffNoPI       = 0x1000
	iffVnetHdr    = 0x4000
	tunCsum       = 0x01
	tunTSO4       = 0x02
	tunTSO6       = 0x04

	// vnetHeader stands before each frame, read or written (linux/virtio_net.h, the legacy header).
	vnetHeader = 10
)

// openTap creates a TAP of this name; it vanishes with the process.
func openTap(name string) (int, error) {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var request struct {
		name  [16]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:15], name)
	request.flags = iffTap | iffNoPI | iffVnetHdr
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), tunSetIff, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		syscall.Close(fd)
		return -1, errno
	}
	return fd, nil
}

// setOffload says whether the kernel may hand over packets that are still to be cut and summed.
func setOffload(fd int, on bool) error {
	flags := uintptr(0)
	if on {
		flags = tunCsum | tunTSO4 | tunTSO6
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), tunSetOffload, flags); errno != 0 {
		return errno
	}
	return nil
}
