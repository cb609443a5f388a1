// Has a server of Node's judge clients: files of CA certificates and lists, then certificate and key of each client. The
// first of these is the server's, too, whom nobody judges. Node reads only the first list of a text, so each is handed in by itself.
import { readFileSync } from 'node:fs';
import tls from 'node:tls';

const [ca, crl, ...holders] = process.argv.slice(2);
const read = (path) => readFileSync(path, 'utf8');
const lists = read(crl).match(/-----BEGIN X509 CRL-----[^]*?-----END X509 CRL-----/g);

const server = tls.createServer({
  ca: read(ca), crl: lists, cert: read(holders[0]), key: read(holders[1]), requestCert: true, rejectUnauthorized: false,
}, (socket) => {
  socket.end(socket.authorized ? 'yes' : String(socket.authorizationError));
});
server.listen(0, '127.0.0.1', async () => {
  const answers = [];
  for (let i = 0; i < holders.length; i += 2) {
    answers.push(await new Promise((resolve) => {
      let text = '';
      const socket = tls.connect({ port: server.address().port, host: '127.0.0.1', cert: read(holders[i]), key: read(holders[i + 1]), rejectUnauthorized: false });
      socket.on('data', (data) => { text += data; });
      socket.on('error', (error) => resolve(String(error)));
      socket.on('end', () => resolve(text === 'yes' ? '' : text));
    }));
  }
  server.close();
  console.log(JSON.stringify(answers));
});
