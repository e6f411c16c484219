import com.ericsson.otp.erlang.*;
import java.io.*;

/** A node of Jinterface. Its arguments are its name and the cookie; commands come on stdin, each answered
 *  with one line on stdout. */
public class JinterfaceNode {
    static OtpErlangObject[] elements(OtpErlangObject term) {
        return term instanceof OtpErlangTuple ? ((OtpErlangTuple) term).elements() : new OtpErlangObject[0];
    }

    static boolean is(OtpErlangObject term, String atom) {
        return term instanceof OtpErlangAtom && ((OtpErlangAtom) term).atomValue().equals(atom);
    }

    static OtpErlangTuple tuple(OtpErlangObject... of) {
        return new OtpErlangTuple(of);
    }

    static OtpErlangAtom atom(String name) {
        return new OtpErlangAtom(name);
    }

    /** A mailbox that tells a process the reason of the exit signal that it gets. */
    static OtpErlangPid victim(OtpNode node, OtpErlangPid told) {
        OtpMbox box = node.createMbox();
        Thread waiting = new Thread(() -> {
            try {
                box.receive();
            } catch (OtpErlangExit end) {
                box.send(told, tuple(atom("died"), end.reason()));
            } catch (OtpErlangDecodeException error) {
                error.printStackTrace();
            }
        });
        waiting.setDaemon(true);
        waiting.start();
        return box.self();
    }

    static void handle(OtpNode node, OtpMbox box, OtpErlangObject message) throws Exception {
        OtpErlangObject[] parts = elements(message);
        if (parts.length == 3 && is(parts[0], "$gen_call")) {
            OtpErlangObject[] from = elements(parts[1]);
            box.send((OtpErlangPid) from[0], tuple(from[1], tuple(atom("got"), parts[2])));
        } else if (parts.length == 2 && parts[0] instanceof OtpErlangPid) {
            box.send((OtpErlangPid) parts[0], tuple(box.self(), parts[1]));
        } else if (parts.length == 2 && is(parts[0], "link")) {
            box.link((OtpErlangPid) parts[1]);
            box.send((OtpErlangPid) parts[1], atom("linked"));
        } else if (parts.length == 2 && is(parts[0], "unlink")) {
            box.unlink((OtpErlangPid) parts[1]);
            box.send((OtpErlangPid) parts[1], atom("unlinked"));
        } else if (parts.length == 3 && is(parts[0], "kill")) {
            box.exit((OtpErlangPid) parts[1], parts[2]);
        } else if (parts.length == 3 && is(parts[0], "leave")) {
            OtpMbox other = node.createMbox();
            other.link((OtpErlangPid) parts[1]);
            other.exit(parts[2]);
        } else if (parts.length == 2 && is(parts[0], "victim")) {
            box.send((OtpErlangPid) parts[1], victim(node, (OtpErlangPid) parts[1]));
        }
    }

    static void serve(OtpNode node) {
        OtpMbox box = node.createMbox("echo");
        while (true) {
            try {
                handle(node, box, box.receive());
            } catch (Exception error) {
                error.printStackTrace();
            }
        }
    }

    static String answer(OtpNode node, String cookie, String[] words) throws Exception {
        switch (words[0]) {
        case "ping":
            return node.ping(words[1], 5000) ? "pong" : "pang";
        case "rpc":
            OtpSelf caller = new OtpSelf("caller" + System.nanoTime() + "@127.0.0.1", cookie);
            OtpConnection connection = caller.connect(new OtpPeer(words[1]));
            connection.sendRPC(words[2], words[3], new OtpErlangList(new OtpErlangLong(-7)));
            String result = connection.receiveRPC().toString();
            connection.close();
            return result;
        case "send":
            OtpMbox box = node.createMbox();
            box.send(words[2], words[1], tuple(box.self(), atom("hi")));
            OtpErlangObject got = box.receive(5000);
            box.close();
            return got == null ? "nothing" : got.toString();
        default:
            return "unknown command";
        }
    }

    public static void main(String[] args) throws Exception {
        OtpNode node = new OtpNode(args[0], args[1]);
        Thread server = new Thread(() -> serve(node));
        server.setDaemon(true);
        server.start();
        System.out.println("ready");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null;) {
            String answer;
            try {
                answer = answer(node, args[1], line.split(" "));
            } catch (Exception error) {
                answer = error.toString();
            }
            System.out.println(answer);
        }
        System.exit(0);
    }
}
