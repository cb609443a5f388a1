import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CRL;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Date;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Java's own PKIX path validation (RFC 5280 section 6). Reads one question a line from standard
 * input: the trusted roots, the chain with the leaf first and no root in it, the revocation lists
 * or "-", all PEM files, and the time as seconds since 1970, with tabs between. Answers each with a
 * line: "valid", or why not.
 */
final class PathValidator {
    public static void main(String[] args) throws Exception {
        var questions = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
        for (String line; (line = questions.readLine()) != null; ) {
            System.out.println(judge(line.split("\t")));
        }
    }

    private static String judge(String[] question) {
        try {
            var factory = CertificateFactory.getInstance("X.509");
            Set<TrustAnchor> anchors = new HashSet<>();
            for (Certificate root : read(factory, question[0])) {
                anchors.add(new TrustAnchor((X509Certificate) root, null));
            }
            List<Certificate> chain = new ArrayList<>(read(factory, question[1]));
            CertPath path = factory.generateCertPath(chain);
            var parameters = new PKIXParameters(anchors);
            parameters.setDate(Date.from(Instant.ofEpochSecond(Long.parseLong(question[3]))));
            parameters.setRevocationEnabled(!question[2].equals("-"));
            if (parameters.isRevocationEnabled()) {
                Collection<? extends CRL> lists;
                try (InputStream in = new ByteArrayInputStream(Files.readAllBytes(Path.of(question[2])))) {
                    lists = factory.generateCRLs(in);
                }
                parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists)));
            }
            CertPathValidator.getInstance("PKIX").validate(path, parameters);
            return "valid";
        } catch (Exception e) {
            return String.valueOf(e.getMessage()).replaceAll("\\s+", " ");
        }
    }

    private static Collection<? extends Certificate> read(CertificateFactory factory, String file) throws Exception {
        try (InputStream in = new ByteArrayInputStream(Files.readAllBytes(Path.of(file)))) {
            return factory.generateCertificates(in);
        }
    }
}
