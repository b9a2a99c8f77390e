[ 1 007 1.5 .5 1.e3 a:b http://x.y/z?a=b ./a /b ~/c <d/e> a/b 1/2 ]
