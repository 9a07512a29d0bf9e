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
	// frameBytes holds an Ethernet frame of an MTU of 1500 with a VLAN tag, and some.
	frameBytes = 2048
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

type held struct {
	frame []byte
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
	d.free.New = func() any { return new([frameBytes]byte) }
	d.current.Store(&settings{})
	return d
}

func (d *direction) receive() {
	runtime.LockOSThread()
	for {
		buffer := d.free.Get().(*[frameBytes]byte)
		size, err := syscall.Read(d.from, buffer[:])
		if err == syscall.EINTR || err == syscall.EIO { // EIO: the link is down
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			log.Fatalf("reading a frame: %v", err)
		}
		if !d.accept(buffer[:size]) {
			d.free.Put(buffer)
		}
	}
}

// accept queues a frame for its time, or returns false for one that ends here.
func (d *direction) accept(frame []byte) bool {
	s := d.current.Load()
	if s.Reset && isTCP(frame) {
		if answer := resetOf(frame); answer != nil {
			d.count.Resets.Add(1)
			_, _ = syscall.Write(d.from, answer)
		}
		return false
	}
	arp := isARP(frame) // without it a cut would not be silent: the kernel says "host unreachable"
	if s.Cut && !arp {
		d.count.Cut.Add(1)
		return false
	}
	if s.Loss > 0 && !arp && d.random.Float64() < s.Loss {
		d.count.Lost.Add(1)
		return false
	}
	return d.enqueue(frame, s)
}

func (d *direction) enqueue(frame []byte, s *settings) bool {
	now := time.Now()
	leave := now
	if s.BitsPerSecond > 0 {
		begin := now
		if d.departed.After(now) {
			begin = d.departed
		}
		waiting := begin.Sub(now).Seconds() * s.BitsPerSecond / 8
		if waiting+float64(len(frame)) > s.limit() {
			d.count.Full.Add(1)
			return false
		}
		leave = begin.Add(time.Duration(float64(len(frame)) * 8 / s.BitsPerSecond * 1e9))
		d.departed = leave
	}
	due := leave.Add(time.Duration(s.DelayMs * 1e6))
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.bytes+len(frame) > maxHeld {
		d.count.Full.Add(1)
		return false
	}
	d.queue = append(d.queue, held{frame, due})
	d.bytes += len(frame)
	if len(d.queue) == 1 {
		d.more.Signal()
	}
	return true
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
			d.write(one.frame)
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

func (d *direction) write(frame []byte) {
	if _, err := syscall.Write(d.to, frame); err == nil {
		d.count.Packets.Add(1)
		d.count.Bytes.Add(int64(len(frame)))
	}
	d.mutex.Lock()
	d.bytes -= len(frame)
	d.mutex.Unlock()
	d.free.Put((*[frameBytes]byte)(frame[:frameBytes]))
}
