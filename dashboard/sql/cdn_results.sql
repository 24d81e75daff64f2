-- One row per result of a request (x-edge-result-type): how many there were in the interval.
with

cdn_results as (

    select
        resulttype,
        sum(requests) as requests,
        sum(sent_bytes) as sent_bytes,
        sum(first_byte_ms) / nullif(sum(first_bytes), 0) as first_byte_ms,
        sum(client_aborts) as client_aborts,
        sum(origin_errors) as origin_errors,
        sum(edge_errors) as edge_errors,
        sum(other_errors) as other_errors
    from chosen_cdn
    group by resulttype

)

select *
from cdn_results
order by requests desc, resulttype
