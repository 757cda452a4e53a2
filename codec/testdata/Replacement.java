import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;

/**
 * Prints the digest that TestReplacementIsJavas compares with: SHA-256 over what
 * Java makes of every sequence of one to five bytes of ALPHABET, each followed by
 * a line feed. With arguments, prints what Java makes of each of them (hex).
 *
 * Run: java Replacement.java
 */
public class Replacement {
    // The edges of the byte ranges of the Unicode Standard's table of well-formed UTF-8.
    static final int[] ALPHABET = {
        0x41, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
        0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
    };

    static byte[] through(byte[] in) {
        return new String(in, StandardCharsets.UTF_8).getBytes(StandardCharsets.UTF_8);
    }

    public static void main(String[] args) throws Exception {
        HexFormat hex = HexFormat.of();
        for (String arg : args) {
            System.out.println(arg + " " + hex.formatHex(through(hex.parseHex(arg))));
        }
        if (args.length > 0) {
            return;
        }
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        for (int length = 1; length <= 5; length++) {
            int count = (int) Math.pow(ALPHABET.length, length);
            byte[] in = new byte[length];
            for (int i = 0; i < count; i++) {
                int rest = i;
                for (int at = length - 1; at >= 0; at--) {
                    in[at] = (byte) ALPHABET[rest % ALPHABET.length];
                    rest /= ALPHABET.length;
                }
                digest.update(through(in));
                digest.update((byte) '\n');
            }
        }
        System.out.println(hex.formatHex(digest.digest()));
    }
}
