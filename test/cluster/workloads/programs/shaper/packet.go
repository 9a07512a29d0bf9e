package main

import "encoding/binary"

// Offsets and numbers: IEEE 802.3, RFC 791 §3.1, RFC 9293 §3.1.
const (
	ethernetHeader = 14
	minIPv4Header  = 20
	tcpHeader      = 20
	etherTypeIPv4  = 0x0800
	etherTypeARP   = 0x0806
	protocolTCP    = 6
	flagFIN        = 0x01
	flagSYN        = 0x02
	flagRST        = 0x04
	flagACK        = 0x10
)

func isARP(frame []byte) bool {
	return len(frame) >= ethernetHeader && binary.BigEndian.Uint16(frame[12:]) == etherTypeARP
}

func isTCP(frame []byte) bool {
	if len(frame) < ethernetHeader+minIPv4Header || binary.BigEndian.Uint16(frame[12:]) != etherTypeIPv4 {
		return false
	}
	packet := frame[ethernetHeader:]
	return packet[0]>>4 == 4 && packet[9] == protocolTCP && len(packet) >= headerLength(packet)+tcpHeader
}

func headerLength(packet []byte) int {
	return int(packet[0]&15) * 4
}

// resetOf returns the frame that resets the connection of a TCP frame at its sender (RFC 9293 §3.5.2), or nil for a reset.
func resetOf(frame []byte) []byte {
	packet := frame[ethernetHeader:]
	segment := packet[headerLength(packet):]
	flags := segment[13]
	if flags&flagRST != 0 {
		return nil
	}
	answer := make([]byte, ethernetHeader+minIPv4Header+tcpHeader)
	copy(answer[0:6], frame[6:12])
	copy(answer[6:12], frame[0:6])
	binary.BigEndian.PutUint16(answer[12:], etherTypeIPv4)
	writeIPv4(answer[ethernetHeader:], packet)
	writeReset(answer[ethernetHeader+minIPv4Header:], segment, payloadLength(packet, segment))
	sum := checksum(answer[ethernetHeader+12:], protocolTCP+tcpHeader)
	binary.BigEndian.PutUint16(answer[ethernetHeader+minIPv4Header+16:], sum)
	return answer
}

// payloadLength counts SYN and FIN as a byte each, as sequence numbers do.
func payloadLength(packet, segment []byte) uint32 {
	total := int(binary.BigEndian.Uint16(packet[2:]))
	length := uint32(max(0, total-headerLength(packet)-int(segment[12]>>4)*4))
	if segment[13]&flagSYN != 0 {
		length++
	}
	if segment[13]&flagFIN != 0 {
		length++
	}
	return length
}

func writeIPv4(out, packet []byte) {
	out[0] = 0x45
	binary.BigEndian.PutUint16(out[2:], minIPv4Header+tcpHeader)
	out[8] = 64
	out[9] = protocolTCP
	copy(out[12:16], packet[16:20])
	copy(out[16:20], packet[12:16])
	binary.BigEndian.PutUint16(out[10:], checksum(out[:minIPv4Header], 0))
}

func writeReset(out, segment []byte, length uint32) {
	copy(out[0:2], segment[2:4])
	copy(out[2:4], segment[0:2])
	out[12] = tcpHeader / 4 << 4
	out[13] = flagRST
	if segment[13]&flagACK != 0 {
		copy(out[4:8], segment[8:12])
		return
	}
	out[13] |= flagACK
	binary.BigEndian.PutUint32(out[8:], binary.BigEndian.Uint32(segment[4:])+length)
}

// checksum is RFC 1071's over an even number of bytes, plus a start.
func checksum(bytes []byte, start uint32) uint16 {
	sum := start
	for at := 0; at+1 < len(bytes); at += 2 {
		sum += uint32(binary.BigEndian.Uint16(bytes[at:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
