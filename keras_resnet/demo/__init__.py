"""A page to try a network: `answers` computes what it shows for one picture, `server` serves it to browsers of this machine,
`static` writes one that needs no server, with `litert_js`."""

from keras_resnet.demo.answers import Answers, page
from keras_resnet.demo.server import Server

__all__ = ["Answers", "Server", "page"]
