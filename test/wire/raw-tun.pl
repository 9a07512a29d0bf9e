# A TUN without any filter, for hand-made packets: hexadecimal lines in are packets written to it, lines out are packets
# read from it. perl-base is on every Debian; Node has no ioctl.
use strict;
use warnings;
my ($name) = @ARGV;
open(my $tun, '+<', '/dev/net/tun') or die "open /dev/net/tun: $!";
my $request = pack('Z16 S x22', $name, 0x1001);    # IFF_TUN | IFF_NO_PI, linux/if_tun.h
ioctl($tun, 0x400454ca, $request) or die "TUNSETIFF: $!";
$| = 1;
print "up\n";
my $input = '';
while (1) {
  my $ready = '';
  vec($ready, fileno(STDIN), 1) = 1;
  vec($ready, fileno($tun), 1) = 1;
  select($ready, undef, undef, undef);
  if (vec($ready, fileno($tun), 1) && defined sysread($tun, my $packet, 65536)) {
    print unpack('H*', $packet), "\n";
  }
  if (vec($ready, fileno(STDIN), 1)) {
    sysread(STDIN, $input, 65536, length $input) or exit 0;
    while ($input =~ s/^([0-9a-f]*)\n//) { syswrite($tun, pack('H*', $1)) }
  }
}
