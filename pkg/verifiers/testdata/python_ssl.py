"""Has Python's ssl judge clients: files of CA certificates and lists, then certificate and key of each client. The
first of these is the server's, too, whom nobody judges."""
import json
import ssl
import sys

ca, crl, *holders = sys.argv[1:]
server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_context.load_cert_chain(holders[0], holders[1])
server_context.load_verify_locations(ca)
server_context.load_verify_locations(crl)
server_context.verify_mode = ssl.CERT_REQUIRED
server_context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def judge(crt, key):
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    client_context.load_cert_chain(crt, key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    done = False
    for _ in range(20):
        try:
            client.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        try:
            server.do_handshake()
            if done:
                return ""
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return str(error)
    return "no end of the handshake"


print(json.dumps([judge(*pair) for pair in zip(holders[::2], holders[1::2])]))
