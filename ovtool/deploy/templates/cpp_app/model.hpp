// The model, compiled for the device and with the properties that were measured.
#pragma once

#include <openvino/openvino.hpp>

#include <string>
#include <vector>

#include "config.hpp"

class Model {
public:
    // `folder` has model.xml and model.bin.
    explicit Model(const std::string& folder, const std::string& device = config::device) {
        ov::Core core;
        compiled_ = core.compile_model(folder + "/model.xml", device, config::properties());
        for (int i = 0; i < config::requests; ++i) {
            requests_.push_back(compiled_.create_infer_request());
        }
    }

    // Runs one request of config::batch samples; the outputs are valid until the next call.
    std::vector<ov::Tensor> infer(const std::vector<ov::Tensor>& inputs) {
        auto& request = requests_.front();
        for (size_t i = 0; i < inputs.size(); ++i) {
            request.set_input_tensor(i, inputs[i]);
        }
        request.infer();
        std::vector<ov::Tensor> outputs;
        for (size_t i = 0; i < compiled_.outputs().size(); ++i) {
            outputs.push_back(request.get_output_tensor(i));
        }
        return outputs;
    }

    // Requests for asynchronous use: start_async() and wait() of each.
    std::vector<ov::InferRequest>& requests() {
        return requests_;
    }

    const ov::CompiledModel& compiled() const {
        return compiled_;
    }

private:
    ov::CompiledModel compiled_;
    std::vector<ov::InferRequest> requests_;
};
