module ortmill.example/embed

go 1.24

require github.com/yalue/onnxruntime_go v1.19.0
