package server;

import org.eclipse.hawkbit.autoconfigure.security.EnableHawkbitManagedSecurityConfiguration;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** hawkBit's update server, as its starters put it together. */
@SpringBootApplication
@EnableHawkbitManagedSecurityConfiguration
public class Start {
    public static void main(String[] args) {
        SpringApplication.run(Start.class, args);
    }
}
