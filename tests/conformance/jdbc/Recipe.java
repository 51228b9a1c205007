import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.sql.DriverManager;
import java.util.Properties;

/** The JDBC recipe of docs/identity.md: a fresh token for each connection. */
public class Recipe {
    static String token() throws IOException, InterruptedException {
        Process command = new ProcessBuilder("postern", "token", "exchange").start();
        byte[] printed = command.getInputStream().readAllBytes();
        if (command.waitFor() != 0) {
            throw new IOException("no token");
        }
        return new String(printed, StandardCharsets.UTF_8).strip();
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("user", "agent");
        properties.setProperty("password", token());
        String url = "jdbc:postgresql://127.0.0.1:" + System.getenv("PORT") + "/orders";
        try (var connection = DriverManager.getConnection(url, properties);
                var statement = connection.prepareStatement("select 6 * ?")) {
            // Often enough for the driver to name its statement on the server.
            for (int round = 0; round < 8; round++) {
                statement.setInt(1, 7);
                try (var rows = statement.executeQuery()) {
                    rows.next();
                    if (round == 7) {
                        System.out.println(rows.getInt(1));
                    }
                }
            }
        }
    }
}
