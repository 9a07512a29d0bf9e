package main

import (
	"log"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// maxRead holds the largest frame of a TAP with offloads, and its virtio header.
	maxRead = vnetHeader + 14 + 65535
	// pooled holds a frame of an MTU of 1500 with its headers; larger ones are allocated one by one.
	pooled = 2048
	// minLimit is the smallest queue that is chosen by itself: some forty full frames.
	minLimit = 64 << 10
	// maxHeld bounds what one direction keeps in memory, whatever its settings (our choice: 1 Gbit/s for a second).
	maxHeld = 128 << 20
)

// settings of one direction. The zero value passes everything at once.
type settings struct {
	BitsPerSecond float64 `json:"bitsPerSecond"`
	DelayMs       float64 `json:"delayMs"`
	Loss          float64 `json:"loss"`       // share of packets, 0 … 1
	LimitBytes    float64 `json:"limitBytes"` // queue before the rate; 0: one bandwidth-delay product
	Cut           bool    `json:"cut"`        // drop everything but ARP without a word
	Reset         bool    `json:"reset"`      // drop TCP and answer it with RST
}

// perPacket says whether packets must be seen one by one.
func (s *settings) perPacket() bool {
	return s.BitsPerSecond > 0 || s.Loss > 0
}

func (s *settings) limit() float64 {
	if s.LimitBytes > 0 {
		return s.LimitBytes
	}
	return max(minLimit, s.BitsPerSecond/8*2*s.DelayMs/1000)
}

type counters struct {
	Packets atomic.Int64
	Bytes   atomic.Int64
	Lost    atomic.Int64 // by the loss setting
	Full    atomic.Int64 // the queue was full
	Cut     atomic.Int64
	Resets  atomic.Int64
}

// held is a frame, behind its virtio header, until it is due.
type held struct {
	bytes []byte
	due   time.Time
}

// direction carries frames from one TAP to the other. receive decides and queues; deliver waits and writes.
type direction struct {
	from, to int
	current  atomic.Pointer[settings]
	count    counters
	random   *rand.Rand

	// departed is when the last queued frame has left the link's sender; only receive uses it.
	departed time.Time

	mutex sync.Mutex
	more  *sync.Cond
	queue []held
	bytes int
	free  sync.Pool
}

func newDirection(from, to int, seed uint64) *direction {
	d := &direction{from: from, to: to, random: rand.New(rand.NewPCG(seed, seed))}
	d.more = sync.NewCond(&d.mutex)
	d.free.New = func() any { return new([pooled]byte) }
	if err := d.change(&settings{}); err != nil {
		log.Fatalf("setting a TAP's offloads: %v", err)
	}
	return d
}

// change makes these the settings of the frames that come from now on; nil leaves them as they are.
func (d *direction) change(s *settings) error {
	if s == nil {
		return nil
	}
	if err := setOffload(d.from, !s.perPacket()); err != nil {
		return err
	}
	d.current.Store(s)
	return nil
}

func (d *direction) receive() {
	runtime.LockOSThread()
	buffer := make([]byte, maxRead)
	for {
		size, err := syscall.Read(d.from, buffer)
		if err == syscall.EINTR || err == syscall.EIO { // EIO: the link is down
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			log.Fatalf("reading a frame: %v", err)
		}
		d.accept(buffer[:size])
	}
}

// accept decides what becomes of a frame: dropped, answered, or queued for its time.
func (d *direction) accept(bytes []byte) {
	s := d.current.Load()
	frame := bytes[vnetHeader:]
	arp := isARP(frame) // without it a cut would not be silent: the kernel says "host unreachable"
	switch {
	case s.Reset && isTCP(frame):
		d.count.Resets.Add(1)
		if answer := resetOf(frame); answer != nil {
			_, _ = syscall.Write(d.from, append(make([]byte, vnetHeader), answer...))
		}
	case s.Cut && !arp:
		d.count.Cut.Add(1)
	case s.Loss > 0 && !arp && d.random.Float64() < s.Loss:
		d.count.Lost.Add(1)
	default:
		d.enqueue(bytes, s)
	}
}

func (d *direction) enqueue(bytes []byte, s *settings) {
	now := time.Now()
	leave := now
	if s.BitsPerSecond > 0 {
		begin := now
		if d.departed.After(now) {
			begin = d.departed
		}
		waiting := begin.Sub(now).Seconds() * s.BitsPerSecond / 8
		size := float64(len(bytes) - vnetHeader)
		if waiting+size > s.limit() {
			d.count.Full.Add(1)
			return
		}
		leave = begin.Add(time.Duration(size * 8 / s.BitsPerSecond * 1e9))
		d.departed = leave
	}
	one := held{d.keep(bytes), leave.Add(time.Duration(s.DelayMs * 1e6))}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.bytes+cap(one.bytes) > maxHeld {
		d.count.Full.Add(1)
		return
	}
	d.queue = append(d.queue, one)
	d.bytes += cap(one.bytes)
	if len(d.queue) == 1 {
		d.more.Signal()
	}
}

// keep copies what was read, so that its memory is near its size.
func (d *direction) keep(bytes []byte) []byte {
	if len(bytes) > pooled {
		return append([]byte(nil), bytes...)
	}
	buffer := d.free.Get().(*[pooled]byte)
	return buffer[:copy(buffer[:], bytes)]
}

// deliver writes each frame when it is due, in the order of arrival. It sleeps by the kernel's own clock: the
// runtime's timers are as coarse as a millisecond.
func (d *direction) deliver() {
	runtime.LockOSThread()
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_TIMERSLACK, 1, 0)
	for {
		for _, one := range d.take() {
			if wait := time.Until(one.due); wait > 0 {
				pause := syscall.NsecToTimespec(int64(wait))
				_ = syscall.Nanosleep(&pause, nil)
			}
			d.write(one.bytes)
		}
	}
}

// take returns all that is queued, at least one frame.
func (d *direction) take() []held {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for len(d.queue) == 0 {
		d.more.Wait()
	}
	batch := d.queue
	d.queue = nil
	return batch
}

func (d *direction) write(bytes []byte) {
	if _, err := syscall.Write(d.to, bytes); err == nil {
		d.count.Packets.Add(1)
		d.count.Bytes.Add(int64(len(bytes) - vnetHeader))
	}
	d.mutex.Lock()
	d.bytes -= cap(bytes)
	d.mutex.Unlock()
	if cap(bytes) == pooled {
		d.free.Put((*[pooled]byte)(bytes[:pooled]))
	}
}
