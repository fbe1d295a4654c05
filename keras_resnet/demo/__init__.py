"""A page to try a network: `answers` computes the results for one picture, `server` serves the page to browsers."""

from keras_resnet.demo.answers import Answers, page
from keras_resnet.demo.server import Server

__all__ = ["Answers", "Server", "page"]
