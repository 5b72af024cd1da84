// A login service with three of the bottlenecks of a real one, for the tests of profiles: every request
// fills the stack traces of exceptions, tries a list of regular expressions on its User-Agent, and
// looks for its route in a list, one pattern after the other.
//
//   java Service.java PORT [--no-exceptions] [--pause-after SECONDS]
//
// --no-exceptions    the check that throws says no by its result instead
// --pause-after N    a full collection of a big heap once, N seconds after the start: the world stops
//
// Says "listening on PORT" when it does. Ends when its standard input closes.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;

public class Service {
    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        boolean exceptions = true;
        long pauseAfterMs = -1;
        for (int i = 1; i < args.length; i++) {
            switch (args[i]) {
                case "--no-exceptions" -> exceptions = false;
                case "--pause-after" -> pauseAfterMs = (long) (Double.parseDouble(args[++i]) * 1000);
                default -> throw new IllegalArgumentException(args[i]);
            }
        }
        System.setProperty("sun.net.httpserver.nodelay", "true");
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 1024);
        Login login = new Login(exceptions);
        server.createContext("/", login::handle);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
        System.out.println("listening on " + server.getAddress().getPort());
        if (pauseAfterMs >= 0) {
            startPause(pauseAfterMs);
        }
        while (System.in.read() >= 0) {
            // Whoever started this holds the other end.
        }
        System.exit(0);
    }

    /** Fills the heap with objects that live, then stops the world to look at each of them. */
    static void startPause(long afterMs) {
        Thread pause = new Thread(() -> {
            try {
                List<Object[]> live = new ArrayList<>();
                for (int i = 0; i < 6_000_000; i++) {
                    live.add(new Object[] {i, null});
                }
                Thread.sleep(afterMs);
                System.gc();
                System.out.println("paused with " + live.size() + " objects");
                Thread.sleep(Long.MAX_VALUE);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }, "pause");
        pause.setDaemon(true);
        pause.start();
    }
}

/** What a request goes through. */
class Login {
    private final boolean exceptions;
    private final RouteScan routes = new RouteScan(1500);
    private final UserAgentParser agents = new UserAgentParser();

    Login(boolean exceptions) {
        this.exceptions = exceptions;
    }

    void handle(HttpExchange exchange) throws IOException {
        String route = routes.find(exchange.getRequestURI().getPath());
        String agent = exchange.getRequestHeaders().getFirst("User-Agent");
        String family = agents.parse(agent == null ? "Mozilla/5.0 (X11; Linux x86_64) none/1.0" : agent);
        int refused = 0;
        for (int i = 0; i < 20; i++) {
            refused += exceptions ? Credentials.refuseByThrowing(40) : Credentials.refuseByResult(40);
        }
        byte[] body = (route + " " + family + " " + refused + "\n").getBytes();
        exchange.getRequestBody().readAllBytes();
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}

/** A check that says no from deep inside. */
class Credentials {
    static class Refused extends Exception {
        Refused(String why) {
            super(why);
        }
    }

    static int refuseByThrowing(int depth) {
        try {
            return check(depth);
        } catch (Refused e) {
            return e.getMessage().length() > 0 ? 1 : 0;
        }
    }

    private static int check(int depth) throws Refused {
        if (depth == 0) {
            throw new Refused("no such user");
        }
        return check(depth - 1) + 1;
    }

    static int refuseByResult(int depth) {
        return depth == 0 ? 1 : refuseByResult(depth - 1);
    }
}

/** The first of a list of regular expressions that matches. */
class UserAgentParser {
    private final List<Pattern> families = new ArrayList<>();

    UserAgentParser() {
        for (int i = 0; i < 30; i++) {
            families.add(Pattern.compile("(?:[a-z]+[/ ])*(Robot|Agent|Client)" + i + "[/ ](\\d+)\\.(\\d+)", Pattern.CASE_INSENSITIVE));
        }
        families.add(Pattern.compile("(\\w+)/(\\d+)\\.(\\d+)"));
    }

    String parse(String agent) {
        for (Pattern family : families) {
            var matcher = family.matcher(agent);
            if (matcher.find()) {
                return matcher.group(1);
            }
        }
        return "unknown";
    }
}

/** Routes with variables, looked at one after the other as some web frameworks do. */
class RouteScan {
    private final List<String[]> routes = new ArrayList<>();

    RouteScan(int count) {
        for (int i = 0; i < count; i++) {
            routes.add(("/api/v1/resource" + i + "/{id}/part/{name}").split("/"));
        }
    }

    String find(String path) {
        for (String[] route : routes) {
            if (matches(route, path)) {
                return String.join("/", route);
            }
        }
        return path;
    }

    private static boolean matches(String[] route, String path) {
        String[] parts = path.split("/");
        if (parts.length != route.length) {
            return false;
        }
        for (int i = 0; i < parts.length; i++) {
            if (!route[i].startsWith("{") && !route[i].equals(parts[i])) {
                return false;
            }
        }
        return true;
    }
}
